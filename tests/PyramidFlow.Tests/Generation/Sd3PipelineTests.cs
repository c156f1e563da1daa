using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

/// <summary>An SD3-shaped checkpoint folder end to end; what does not depend on the family is in <see cref="VideoPipelineTests"/>.</summary>
public sealed class Sd3PipelineTests : IDisposable
{
    private static readonly GenerationOptions Request = new() { Prompt = "a cat", Seed = 7 };
    private readonly TemporaryFolder folder = new();

    public Sd3PipelineTests() => TinyCheckpoint.Write(folder, ModelFamilies.Sd3);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_prompt_becomes_frames_unit_by_unit()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var chunks = await Collect(pipeline, Request);
        Assert.Equal([(0, 1), (1, 8), (9, 8)], chunks.Select(c => (c.FirstFrame, c.Count)));
        var again = await Collect(pipeline, Request);
        Assert.All(chunks.Zip(again), pair => Assert.Equal(pair.First.Rgb.ToArray(), pair.Second.Rgb.ToArray()));
        var other = await Collect(pipeline, Request with { Prompt = "a dog" });
        Assert.NotEqual(chunks[0].Rgb.ToArray(), other[0].Rgb.ToArray());
    }

    [Fact]
    public void History_ahead_of_the_steps_gives_the_same_latents()
    {
        using var scope = new TensorScope();
        using var ahead = VideoPipeline.Load(folder.Path);
        using var joint = VideoPipeline.Load(folder.Path, new PipelineOptions { Sampler = new SamplerOptions { UsePrefix = false } });
        GoldenTensors.AssertClose(joint.GenerateLatents(Request, cancellationToken: Cancel), ahead.GenerateLatents(Request, cancellationToken: Cancel), 1e-4, 1e-4, "latents");
    }

    [Fact]
    public async Task An_image_is_the_first_frame()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var image = new byte[64 * 64 * 3];
        new Random(3).NextBytes(image);
        var chunks = await Collect(pipeline, Request with { Image = image });
        var dark = await Collect(pipeline, Request with { Image = new byte[image.Length] });
        Assert.Equal([1, 8, 8], chunks.Select(c => c.Count));
        Assert.NotEqual(chunks[2].Rgb.ToArray(), dark[2].Rgb.ToArray());
    }

    [Fact]
    public void Latents_have_the_statistics_of_its_family()
    {
        File.Delete(folder.File(PipelineSettings.FileName));
        using var pipeline = VideoPipeline.Load(folder.Path);
        Assert.Equal(new LatentNormalization(0.1490, 1 / 1.8415, -0.2343, 1 / 3.0986), pipeline.Settings.Latent);
    }

    [Fact]
    public void Weights_are_found_under_the_prefixes_of_training_checkpoints()
    {
        using var scope = new TensorScope();
        using var other = new TemporaryFolder();
        TinyCheckpoint.Write(other, ModelFamilies.Sd3, ("dit.", "model_ema.vae."));
        using var plain = VideoPipeline.Load(folder.Path);
        using var prefixed = VideoPipeline.Load(other.Path);
        var latents = plain.GenerateLatents(Request, cancellationToken: Cancel);
        GoldenTensors.AssertClose(latents, prefixed.GenerateLatents(Request, cancellationToken: Cancel), 0, 0, "latents");
        Assert.Equal(plain.Decode(latents), prefixed.Decode(latents));
    }

    [Fact]
    public void Positions_in_time_turn_whatever_the_config_says()
    {
        var config = folder.File("diffusion_transformer_384p", "config.json");
        var text = File.ReadAllText(config);
        var changed = text.Replace("\"temp_pos_embed_type\": \"rope\"", "\"temp_pos_embed_type\": \"sincos\"", StringComparison.Ordinal)
            .Replace("\"add_temp_pos_embed\": true", "\"add_temp_pos_embed\": false", StringComparison.Ordinal);
        Assert.NotEqual(text, changed);
        using var scope = new TensorScope();
        using var released = VideoPipeline.Load(folder.Path);
        File.WriteAllText(config, changed);
        using var forced = VideoPipeline.Load(folder.Path);
        GoldenTensors.AssertClose(released.GenerateLatents(Request, cancellationToken: Cancel), forced.GenerateLatents(Request, cancellationToken: Cancel), 0, 0, "latents");
    }

    [Fact]
    public void A_frame_larger_than_the_position_table_is_refused_before_any_work()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var error = Assert.Throws<RequestException>(() => pipeline.GenerateAsync(Request with { Width = 320 }, cancellationToken: Cancel));
        FaultAssert.Is(error, "size_beyond_positions", ("side", "width"), ("value", 320), ("most", 256L));
    }

    [Fact]
    public void A_text_encoder_of_another_width_is_named_and_freed()
    {
        var before = Tensor.LiveCount;
        var config = folder.File("diffusion_transformer_384p", "config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"pooled_projection_dim\": 24", "\"pooled_projection_dim\": 12", StringComparison.Ordinal));
        var error = Assert.Throws<CheckpointException>(() => VideoPipeline.Load(folder.Path));
        FaultAssert.Is(FaultAssert.Among(error, "pooled_width_differs"), "pooled_width_differs", ("takes", 12L), ("other", "text_encoder and text_encoder_2"), ("gives", 24L));
        Assert.Equal(before, Tensor.LiveCount);
    }

    private static async Task<List<VideoChunk>> Collect(VideoPipeline pipeline, GenerationOptions request)
    {
        var chunks = new List<VideoChunk>();
        await foreach (var chunk in pipeline.GenerateAsync(request, cancellationToken: Cancel))
            chunks.Add(chunk);
        return chunks;
    }
}
