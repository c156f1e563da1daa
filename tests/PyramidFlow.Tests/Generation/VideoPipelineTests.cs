using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

public sealed class VideoPipelineTests : IDisposable
{
    private static readonly GenerationOptions Request = new() { Prompt = "a cat", Seed = 7 };
    private readonly TemporaryFolder folder = new();

    public VideoPipelineTests() => TinyCheckpoint.Write(folder);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task The_same_seed_gives_the_same_bytes_and_another_seed_others()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var first = Bytes(await Collect(pipeline.GenerateAsync(Request, cancellationToken: Cancel)));
        var again = Bytes(await Collect(pipeline.GenerateAsync(Request, cancellationToken: Cancel)));
        var other = Bytes(await Collect(pipeline.GenerateAsync(Request with { Seed = 8 }, cancellationToken: Cancel)));
        Assert.Equal(17 * 64 * 64 * 3, first.Length);
        Assert.Equal(first, again);
        Assert.NotEqual(first, other);
    }

    [Fact]
    public async Task Frames_come_unit_by_unit_and_equal_those_decoded_at_once()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var chunks = await Collect(pipeline.GenerateAsync(Request, cancellationToken: Cancel));
        Assert.Equal([(0, 1), (1, 8), (9, 8)], chunks.Select(c => (c.FirstFrame, c.Count)));
        Assert.All(chunks, c => Assert.Equal((64, 64, c.Count * 64 * 64 * 3), (c.Width, c.Height, c.Rgb.Length)));

        using var latents = pipeline.GenerateLatents(Request, cancellationToken: Cancel);
        var whole = pipeline.Decode(latents);
        var streamed = Bytes(chunks);
        Assert.Equal(whole.Length, streamed.Length);
        // The same arithmetic in other pieces: a value may fall on the other side of a rounding.
        Assert.All(whole.Zip(streamed), pair => Assert.InRange(pair.First - pair.Second, -1, 1));
        Assert.InRange(whole.Zip(streamed).Count(pair => pair.First != pair.Second), 0, whole.Length / 1000);
    }

    [Fact]
    public async Task A_longer_video_begins_like_a_shorter_one()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var shorter = Bytes(await Collect(pipeline.GenerateAsync(Request with { Frames = 9 }, cancellationToken: Cancel)));
        var longer = Bytes(await Collect(pipeline.GenerateAsync(Request, cancellationToken: Cancel)));
        // The longer one has a history cache, which puts padding before the words: sums have another order, and a number next to a half another level.
        Assert.All(shorter.Zip(longer), pair => Assert.InRange(pair.First - pair.Second, -1, 1));
    }

    [Fact]
    public async Task Prompt_suffix_negative_prompt_and_guidance_all_matter()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var picture = Request with { Frames = 1 };
        var requests = new[]
        {
            picture, picture with { Prompt = "a dog" }, picture with { PromptSuffix = "" }, picture with { NegativePrompt = "dark and noisy" },
            picture with { Guidance = 9 }, picture with { Guidance = 0 },
        };
        var results = new List<string>();
        foreach (var request in requests)
            results.Add(Convert.ToHexString(Bytes(await Collect(pipeline.GenerateAsync(request, cancellationToken: Cancel)))));
        Assert.Distinct(results);
        var unguided = await Collect(pipeline.GenerateAsync(picture with { Guidance = 0, NegativePrompt = "dark and noisy" }, cancellationToken: Cancel));
        Assert.Equal(results[^1], Convert.ToHexString(Bytes(unguided)));
    }

    [Fact]
    public async Task An_image_is_the_first_frame_and_steers_the_rest()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var image = new byte[64 * 64 * 3];
        new Random(3).NextBytes(image);
        var request = (Request with { Prompt = "" }).WithImage(new RgbImage(64, 64, image));
        var chunks = await Collect(pipeline.GenerateAsync(request, cancellationToken: Cancel));
        Assert.Equal([1, 8, 8], chunks.Select(c => c.Count));
        var darker = image.Select(b => (byte)(b / 2)).ToArray();
        var others = await Collect(pipeline.GenerateAsync(request with { Image = darker }, cancellationToken: Cancel));
        Assert.NotEqual(chunks[1].Rgb.ToArray(), others[1].Rgb.ToArray());
        // The first frame does not depend on the seed unless the latents are drawn.
        var first = await Collect(pipeline.GenerateAsync(request with { Seed = 8, Frames = 9 }, cancellationToken: Cancel));
        Assert.Equal(chunks[0].Rgb.ToArray(), first[0].Rgb.ToArray());
        var drawn = await Collect(pipeline.GenerateAsync(request with { SampleImage = true, Frames = 9 }, cancellationToken: Cancel));
        Assert.NotEqual(chunks[0].Rgb.ToArray(), drawn[0].Rgb.ToArray());
    }

    [Fact]
    public async Task Cancelling_stops_within_a_step_and_leaves_no_tensor_behind()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        pipeline.GenerateLatents(Request with { Frames = 1 }, cancellationToken: Cancel).Dispose();            // text encoders have their weights now
        var before = Tensor.LiveCount;
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var reports = new Reports<GenerationProgress>(report =>
        {
            if (report is { Phase: GenerationPhase.Denoising, Unit: 1, Stage: 1, Step: 1 })
                cancel.Cancel();
        });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Collect(pipeline.GenerateAsync(Request, reports, cancel.Token)));
        Assert.Equal((1, 1, 1), (reports.All[^1].Unit, reports.All[^1].Stage, reports.All[^1].Step));
        Assert.Equal(before, Tensor.LiveCount);
        // And it can be used again.
        Assert.Equal(3, (await Collect(pipeline.GenerateAsync(Request, cancellationToken: Cancel))).Count);
        Assert.Equal(before, Tensor.LiveCount);
    }

    [Fact]
    public async Task Leaving_the_enumeration_stops_the_work()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        pipeline.GenerateLatents(Request with { Frames = 1 }, cancellationToken: Cancel).Dispose();            // text encoders have their weights now
        var before = Tensor.LiveCount;
        var reports = new Reports<GenerationProgress>();
        await foreach (var chunk in pipeline.GenerateAsync(Request with { Frames = 81 }, reports, Cancel))
        {
            Assert.Equal(0, chunk.FirstFrame);
            break;
        }

        Assert.Equal(before, Tensor.LiveCount);
        Assert.True(reports.All[^1].Unit < 10);
    }

    [Fact]
    public async Task Disposing_the_pipeline_stops_a_run()
    {
        var pipeline = VideoPipeline.Load(folder.Path);
        var run = pipeline.GenerateAsync(Request with { Frames = 81 }, cancellationToken: Cancel);
        await using var frames = run.GetAsyncEnumerator(Cancel);
        Assert.True(await frames.MoveNextAsync());
        var disposing = Task.Run(pipeline.Dispose, Cancel);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            while (await frames.MoveNextAsync())
            {
            }
        });
        await disposing;
        Assert.Throws<ObjectDisposedException>(() => pipeline.GenerateAsync(Request, cancellationToken: Cancel));
    }

    [Fact]
    public async Task Runs_at_the_same_time_take_turns_and_do_not_mix()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var alone = Bytes(await Collect(pipeline.GenerateAsync(Request, cancellationToken: Cancel)));
        var both = await Task.WhenAll(
            Task.Run(() => Collect(pipeline.GenerateAsync(Request, cancellationToken: Cancel)), Cancel),
            Task.Run(() => Collect(pipeline.GenerateAsync(Request with { Seed = 8 }, cancellationToken: Cancel)), Cancel));
        Assert.Equal(alone, Bytes(both[0]));
        Assert.NotEqual(alone, Bytes(both[1]));
    }

    [Fact]
    public async Task Progress_rises_to_1_and_tells_every_step()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var reports = new Reports<GenerationProgress>();
        await Collect(pipeline.GenerateAsync(Request, reports, Cancel));
        var fractions = reports.All.Select(r => r.Fraction).ToList();
        Assert.Equal(fractions.Order(), fractions);
        Assert.Equal(1, fractions[^1], 12);
        var settings = TinyCheckpoint.Settings;
        Assert.Equal(settings.Steps.Sum() + (2 * settings.VideoSteps.Sum()), reports.All.Count(r => r.Phase == GenerationPhase.Denoising && r.Step > 0));
    }

    [Fact]
    public async Task A_prompt_that_is_cut_is_a_warning()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var run = pipeline.GenerateAsync(Request with { Prompt = string.Concat(Enumerable.Repeat("a cat and a dog ", 100)), Frames = 1 }, cancellationToken: Cancel);
        await Collect(run);
        Assert.Contains("GenerateAsync again", (await Assert.ThrowsAsync<InvalidOperationException>(() => Collect(run))).Message, StringComparison.Ordinal);
        Assert.Contains(run.Warnings, w => w.Contains("reads only the first 128", StringComparison.Ordinal));
        var plain = pipeline.GenerateAsync(Request with { Frames = 1 }, cancellationToken: Cancel);
        await Collect(plain);
        Assert.Empty(plain.Warnings);
    }

    [Fact]
    public void An_impossible_request_fails_before_any_work()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        FaultAssert.Is(Assert.Throws<RequestException>(() => pipeline.GenerateAsync(Request with { Height = 100 }, cancellationToken: Cancel)), "size_not_multiple", ("side", "height"), ("value", 100));
    }

    [Fact]
    public async Task A_failing_listener_ends_the_run_with_its_error()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var before = Tensor.LiveCount;
        var reports = new Reports<GenerationProgress>(r => throw new InvalidTimeZoneException(r.Phase.ToString()));
        await Assert.ThrowsAsync<InvalidTimeZoneException>(() => Collect(pipeline.GenerateAsync(Request, reports, Cancel)));
        Assert.Equal(before, Tensor.LiveCount);
    }

    [Fact]
    public void Models_that_do_not_fit_together_are_named()
    {
        var config = folder.File("diffusion_transformer_384p", "config.json");
        var before = Tensor.LiveCount;
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"in_channels\": 16", "\"in_channels\": 64", StringComparison.Ordinal));
        var error = Assert.Throws<CheckpointException>(() => VideoPipeline.Load(folder.Path));
        FaultAssert.Is(FaultAssert.Among(error, "latent_channels_differ"), "latent_channels_differ", ("takes", 16L), ("other", "causal_video_vae"), ("gives", 4L));
        Assert.Equal(before, Tensor.LiveCount);
    }

    [Fact]
    public void A_text_encoder_of_another_width_is_named_and_freed()
    {
        var config = folder.File("diffusion_transformer_384p", "config.json");
        var before = Tensor.LiveCount;
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"joint_attention_dim\": 16", "\"joint_attention_dim\": 20", StringComparison.Ordinal));
        var error = Assert.Throws<CheckpointException>(() => VideoPipeline.Load(folder.Path));
        FaultAssert.Is(FaultAssert.Among(error, "text_width_differs"), "text_width_differs", ("takes", 20L), ("other", "text_encoder_2"), ("gives", 16L));
        Assert.Equal(before, Tensor.LiveCount);
    }

    [Fact]
    public void Everything_that_is_missing_is_named_at_once()
    {
        File.Delete(folder.File("causal_video_vae", "diffusion_pytorch_model.safetensors"));
        Directory.Delete(Path.GetDirectoryName(folder.File("text_encoder_2", "x"))!, recursive: true);
        var error = Assert.Throws<CheckpointException>(() => VideoPipeline.Load(folder.Path));
        Assert.Equal(("several_faults", "no_weights, component_missing"), (error.Code, error.Parameters["codes"]));
        FaultAssert.Is(FaultAssert.Among(error, "no_weights"), "no_weights", ("folder", Path.Combine(folder.Path, "causal_video_vae")));
        FaultAssert.Is(FaultAssert.Among(error, "component_missing"), "component_missing", ("component", "text_encoder_2"));
    }

    private static async Task<List<VideoChunk>> Collect(GenerationRun run)
    {
        var chunks = new List<VideoChunk>();
        await foreach (var chunk in run.WithCancellation(Cancel))
            chunks.Add(chunk);
        return chunks;
    }

    private static byte[] Bytes(IEnumerable<VideoChunk> chunks) => [.. chunks.SelectMany(c => c.Rgb.ToArray())];
}
