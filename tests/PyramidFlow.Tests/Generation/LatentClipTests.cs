using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Generation;

public sealed class LatentClipTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Going_on_from_the_latents_of_a_clip_gives_the_longer_clip()
    {
        var whole = await tiny.Chunks(TinyPipeline.Request with { Frames = 25, LinearGuidance = new(0.5, 1) });
        var begun = await tiny.Chunks(TinyPipeline.Request with { Frames = 9, LinearGuidance = new(0.5, 1) });
        var latents = LatentClip.Join([.. begun.Select(c => c.Latents!)]);
        var further = TinyPipeline.Request with { Latents = latents, Frames = 16, LinearGuidance = new(0.5, 1) };
        TinyPipeline.AssertSame(TinyPipeline.Bytes(whole), await tiny.Frames(further));
        TinyPipeline.AssertSame(TinyPipeline.Bytes(whole)[(9 * TinyPipeline.FrameBytes)..], await tiny.Frames(further with { NewFramesOnly = true }));
    }

    [Fact]
    public async Task The_latents_of_the_chunks_are_those_of_the_clip()
    {
        var chunks = await tiny.Chunks(TinyPipeline.Request);
        var joined = LatentClip.Join([.. chunks.Select(c => c.Latents!)]);
        using var latents = tiny.Pipeline.GenerateLatents(TinyPipeline.Request, cancellationToken: Cancel);
        Assert.Equal(latents.ToArray<float>(), joined.Values.ToArray());
        TinyPipeline.AssertSame(TinyPipeline.Bytes(chunks), tiny.Pipeline.Decode(joined));
    }

    [Fact]
    public async Task A_file_gives_the_latents_back_with_how_they_were_made()
    {
        using var folder = new TemporaryFolder();
        var run = tiny.Pipeline.GenerateAsync(TinyPipeline.Request with { Frames = 9 }, cancellationToken: Cancel);
        var latents = LatentClip.Join([.. (await TinyPipeline.Collect(run)).Select(c => c.Latents!)]);
        LatentFile.Write(folder.File("a.safetensors"), latents, run.Settings, new Dictionary<string, string> { ["comment"] = "é" });
        var (read, metadata) = (LatentFile.Read(folder.File("a.safetensors")), LatentFile.ReadMetadata(folder.File("a.safetensors")));
        Assert.Equal(latents.Values.ToArray(), read.Values.ToArray());
        Assert.Equal((4, 2, 8, 8), (read.Channels, read.Frames, read.Height, read.Width));
        Assert.Equal(tiny.Pipeline.Settings.Latent, read.Normalization);
        Assert.Equal("é", metadata["comment"]);
        Assert.Contains("\"prompt\":\"a cat\"", metadata["settings"], StringComparison.Ordinal);
        Assert.Contains("\"seed\":7", metadata["settings"], StringComparison.Ordinal);
        Assert.DoesNotContain("reuse_prefix", metadata["settings"], StringComparison.Ordinal);
        var approximate = (TinyPipeline.Request with { ReusePrefix = 2, Solver = FlowSolvers.SecondOrder }).Resolve(tiny.Pipeline.Settings);
        LatentFile.Write(folder.File("b.safetensors"), latents, approximate);
        metadata = LatentFile.ReadMetadata(folder.File("b.safetensors"));
        Assert.Contains("\"reuse_prefix\":2,\"solver\":\"second-order\"", metadata["settings"], StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_without_latents_or_without_statistics_is_refused()
    {
        using var folder = new TemporaryFolder();
        using var scope = new TensorScope();
        SafetensorsWriter.Write(folder.File("a.safetensors"), [("weight", Tensor.Zeros([2]))]);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => LatentFile.Read(folder.File("a.safetensors"))), "no_latents", ("file", folder.File("a.safetensors")));
        SafetensorsWriter.Write(folder.File("b.safetensors"), [("latents", Tensor.Zeros([1, 4, 1, 8, 8]))]);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => LatentFile.Read(folder.File("b.safetensors"))), "latents_lack", ("file", folder.File("b.safetensors")), ("key", "image_shift"));
    }

    [Fact]
    public void Latents_of_another_model_or_size_are_refused()
    {
        using var scope = new TensorScope();
        var own = tiny.Pipeline.Settings.Latent;
        var request = TinyPipeline.Request with { Frames = 8 };
        Refused(LatentClip.Of(Tensor.Zeros([1, 16, 2, 8, 8]), own), "latents_of_other_model", "channels=16 expected=4");
        Refused(LatentClip.Of(Tensor.Zeros([1, 4, 2, 8, 8]), ModelFamilies.Sd3.Latent), "latents_of_other_model", "");
        Refused(LatentClip.Of(Tensor.Zeros([1, 4, 2, 9, 8]), own), "size_not_multiple", "side=height value=72 multiple=64");
        Assert.Throws<ArgumentException>(() => LatentClip.Join([LatentClip.Of(Tensor.Zeros([1, 4, 2, 8, 8]), own), LatentClip.Of(Tensor.Zeros([1, 4, 2, 8, 16]), own)]));

        void Refused(LatentClip latents, string code, string parameters) => FaultAssert.Has(
            Assert.Throws<RequestException>(() => tiny.Pipeline.GenerateAsync(request with { Latents = latents }, cancellationToken: Cancel)), code, parameters);
    }
}
