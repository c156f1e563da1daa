using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Tests.Data;

public sealed class LatentExtractionTests : IDisposable
{
    private readonly MediaFolder folder = new();
    private readonly CausalVideoVae vae = new(CausalVideoVaeConfig.Uniform([8, 8, 8, 8], 1, 1, latentChannels: 4, groups: 2));
    private readonly LatentExtractionOptions options = new() { Sizes = ["32x16"], Frames = 25, Window = 8, StoredType = ElementType.Float32 };
    private readonly FaultLog faults = new();

    public LatentExtractionTests()
    {
        using var generator = new RandomGenerator(1);
        vae.Initialize(generator);
    }

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        vae.Dispose();
        folder.Dispose();
    }

    [Fact]
    public async Task Window_by_window_gives_the_latents_of_the_whole_clip()
    {
        var annotations = folder.Annotate(new { video = await folder.VideoAsync("a.mp4", 30, 64, 32), text = "a" });

        await Extract(annotations, options with { Sample = false });

        using var clips = await DataSources.OpenClipsAsync(new DataOptions { Annotations = [annotations], Sizes = ["32x16"], Frames = [25], RandomStart = false },
            new BatchPlanOptions(0, 1), captions: true, new FaultLog(), cancellationToken: Ct);
        using var latents = await Latents();
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var expected = vae.Encode(clips.Batch(0, Ct).Pixels()).Mode;
        var batch = latents.Batch(0, Ct);
        Assert.Equal([1, 4, 4, 2, 4], batch.Latents.Shape);
        Assert.Equal("a", batch.Captions[0]);
        var error = ((batch.Latents - expected).Abs().Max() / expected.Abs().Max()).Item();
        TestContext.Current.TestOutputHelper!.WriteLine($"relative error {error:G3}");
        Assert.InRange(error, 0, 1e-5);
    }

    [Fact]
    public async Task Latents_that_are_not_finite_are_an_error_and_never_written()
    {
        var annotations = folder.Annotate(new { video = await folder.VideoAsync("a.mp4", 30, 64, 32), text = "a" });
        using (new TensorScope())
            vae.NamedParameters().Single(p => p.Key == "encoder.conv_out.conv.bias").Parameter.Value.Fill(double.NaN);
        var error = await Assert.ThrowsAsync<NonFiniteException>(() => Extract(annotations));
        Assert.Equal(ModelPart.Vae, error.Part);
        Assert.Empty(Directory.GetFiles(folder.File("out-latents")));
    }

    [Fact]
    public async Task Latents_too_large_for_the_type_they_are_stored_in_are_said_so()
    {
        var annotations = folder.Annotate(new { video = await folder.VideoAsync("a.mp4", 30, 64, 32), text = "a" });
        using (new TensorScope())
            vae.NamedParameters().Single(p => p.Key == "quant_conv.conv.bias").Parameter.Value.Fill(1e6);
        var error = await Assert.ThrowsAsync<NonFiniteException>(() => Extract(annotations, options with { StoredType = ElementType.Float16 }));
        Assert.EndsWith(TrainingFault.LatentsOverflow(ElementType.Float16), error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_run_that_was_stopped_makes_only_what_is_missing_and_makes_it_the_same()
    {
        var annotations = await Several();
        var first = await Extract(annotations);
        var files = Directory.GetFiles(folder.File("out-latents")).Order(StringComparer.Ordinal).ToList();
        var before = files.ConvertAll(File.ReadAllBytes);
        File.Delete(files[0]);
        await File.WriteAllBytesAsync(files[1], before[1][..^8], Ct);

        var second = await Extract(annotations);

        Assert.Equal((3, 0, 3), (first.Made, first.Kept, first.Lines));
        Assert.Equal((2, 1, 3), (second.Made, second.Kept, second.Lines));
        Assert.Equal(before, files.ConvertAll(File.ReadAllBytes));
    }

    [Fact]
    public async Task Parts_together_are_the_whole()
    {
        var annotations = await Several();
        foreach (var part in new[] { 1, 2 })
            Assert.Null((await Extract(annotations, part: part, parts: 2)).Lines);
        Assert.False(File.Exists(folder.File("out.jsonl")));

        var whole = await Extract(annotations);

        Assert.Equal((0, 3, 3), (whole.Made, whole.Kept, whole.Lines));
    }

    [Fact]
    public async Task Other_settings_make_other_files()
    {
        var annotations = await Several();
        await Extract(annotations);

        Assert.Equal(3, (await Extract(annotations, options with { Seed = 1 })).Made);
        // Only one of them is longer than 9 frames.
        Assert.Equal(1, (await Extract(annotations, options with { Frames = 9 })).Made);
    }

    [Fact]
    public async Task Bad_items_are_named_and_left_out()
    {
        var annotations = folder.Annotate(
            new { video = await folder.VideoAsync("good.mp4", 9) },
            new { video = await folder.VideoAsync("short.mp4", 5) },
            new { image = folder.Write("broken.png", [1, 2, 3]) },
            new { video = "lost.mp4" },
            new { image = folder.Image("good.png", 40, 40) });

        var result = await Extract(annotations);

        Assert.Equal(2, result.Lines);
        Assert.Equal([(2, DataFaultKind.TooShort), (3, DataFaultKind.Damaged), (4, DataFaultKind.Missing)], faults.Faults.Select(fault => (fault.Line, fault.Kind)));
        Assert.Equal([folder.File("good.mp4"), folder.File("good.png")], MediaFolder.Read(folder.File("out.jsonl")).Select(line => line.Media));
        using var latents = await Latents();
        Assert.Equal([(new Bucket(32, 16, 1), 1), (new Bucket(32, 16, 9), 1)], latents.Plan.Counts);
    }

    [Fact]
    public async Task Other_keys_and_the_way_to_the_media_stay()
    {
        await folder.VideoAsync("clips/a.mp4", 9);
        var annotations = folder.Annotate("""{"video": "clips/a.mp4", "text": "größer als ein \"Haus\"", "source": {"id": 7}}""");

        await Extract(annotations, output: folder.File("deep", "er", "out.jsonl"));

        var text = await File.ReadAllTextAsync(folder.File("deep", "er", "out.jsonl"), Ct);
        Assert.StartsWith("""{"video":"../../clips/a.mp4","text":"größer als ein \"Haus\"","source":{"id":7},"latent":"out-latents/a-""", text, StringComparison.Ordinal);
        Assert.True(File.Exists(MediaFolder.Read(folder.File("deep", "er", "out.jsonl"))[0].Latent));
    }

    [Fact]
    public async Task Impossible_settings_are_refused_before_any_work()
    {
        var annotations = await Several();

        await Refused(() => Extract(annotations, options with { Frames = 24 }), "frames_not_whole", "frames=24 below=17 above=25");
        await Refused(() => Extract(annotations, options with { Window = 12 }), "window_not_multiple", "frames=12 multiple=8");
        await Refused(() => Extract(annotations, part: 3, parts: 2), "part_impossible", "part=3 parts=2");
        Assert.False(Directory.Exists(Path.Combine(Path.GetDirectoryName(annotations)!, "out-latents")));

        static async Task Refused(Func<Task> extract, string code, string parameters) =>
            FaultAssert.Has(await Assert.ThrowsAsync<TrainingException>(extract), code, parameters);
    }

    private Task<IBatchSource<LatentBatch>> Latents() => DataSources.OpenLatentsAsync(new DataOptions { Annotations = [folder.File("out.jsonl")] },
        new BatchPlanOptions(0, 1), CaptionForm.None, 4, new FaultLog(), cancellationToken: Ct);

    private async Task<string> Several() => folder.Annotate(
        new { video = await folder.VideoAsync("a.mp4", 9) }, new { video = await folder.VideoAsync("b.mp4", 20) }, new { image = folder.Image("c.png", 40, 40) });

    private Task<ExtractionResult> Extract(string annotations, LatentExtractionOptions? other = null, int part = 1, int parts = 1, string? output = null) =>
        new LatentExtraction(vae, other ?? options, faults).RunAsync(new ExtractionTarget(annotations, output ?? folder.File("out.jsonl"), null, part, parts), cancellationToken: Ct);
}
