using PyramidFlow.Models;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Generation;

/// <summary>A number that is infinite or none, wherever it comes from, ends a run in an error that names it: never in black frames.</summary>
public sealed class NonFiniteTests : IDisposable
{
    private const string Transformer = "diffusion_transformer_384p", Vae = "causal_video_vae";

    private static readonly GenerationOptions Picture = new() { Prompt = "a cat", Seed = 7, Frames = 1 };

    private readonly TemporaryFolder folder = new();

    public NonFiniteTests() => TinyCheckpoint.Write(folder);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(Transformer, "proj_out.weight", float.NaN, "the transformer ended in numbers that are not finite after stage 1 of 3 of unit 1")]
    [InlineData(Transformer, "proj_out.bias", float.PositiveInfinity, "the transformer ended in numbers that are not finite after stage 1 of 3 of unit 1")]
    [InlineData(Vae, "decoder.conv_out.conv.bias", float.NaN, "the VAE ended in numbers that are not finite when frames were decoded")]
    [InlineData("text_encoder", "text_model.final_layer_norm.bias", float.NaN, "the text encoders ended in numbers that are not finite when a prompt was encoded")]
    [InlineData("text_encoder_2", "encoder.final_layer_norm.weight", float.NegativeInfinity, "the text encoders ended in numbers that are not finite when a prompt was encoded")]
    public async Task A_weight_that_is_no_number_is_an_error_with_stage_file_and_key(string component, string key, float number, string stage)
    {
        var file = Damage(component, key, number);
        foreach (var offload in (Offload[])[Offload.None, Offload.Sequential])
        {
            using var pipeline = VideoPipeline.Load(folder.Path, new PipelineOptions { Offload = offload });
            var before = Tensor.LiveCount;
            var error = await Assert.ThrowsAsync<CheckpointException>(() => TinyPipeline.Collect(pipeline.GenerateAsync(Picture, cancellationToken: Cancel)));
            FaultAssert.Is(error, "weight_not_finite", ("file", file), ("key", key));
            Assert.StartsWith(stage + ": ", error.Message, StringComparison.Ordinal);
            if (offload == Offload.None && !component.StartsWith("text", StringComparison.Ordinal))
                Assert.InRange(Tensor.LiveCount - before, 0, 200);
        }

        var report = CheckpointReport.Create(CheckpointFolder.Open(folder.Path), everyWeight: true, cancellationToken: Cancel);
        Assert.False(report.CanRun);
        FaultAssert.Is(Assert.Single(report.Variants[0].Faults), "weight_not_finite", ("file", file), ("key", key));
        Assert.True(CheckpointReport.Create(CheckpointFolder.Open(folder.Path), cancellationToken: TestContext.Current.CancellationToken).CanRun);
    }

    [Fact]
    public void Latents_alone_and_what_is_encoded_to_go_on_from_are_checked_too()
    {
        using var scope = new TensorScope();
        Damage(Vae, "encoder.conv_out.conv.bias", float.NaN);
        using (var pipeline = VideoPipeline.Load(folder.Path))
        {
            var error = Assert.Throws<CheckpointException>(() => pipeline.GenerateLatents(Picture with { Frames = 9, Image = new byte[TinyPipeline.FrameBytes] }, cancellationToken: Cancel));
            Assert.Contains("the VAE ended in numbers that are not finite when what is gone on from was encoded", error.Message, StringComparison.Ordinal);
            FaultAssert.Is(error, "weight_not_finite", ("key", "encoder.conv_out.conv.bias"));
        }

        Damage(Transformer, "proj_out.weight", float.NaN);
        using var broken = VideoPipeline.Load(folder.Path);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => broken.GenerateLatents(Picture, cancellationToken: Cancel)), "weight_not_finite", ("key", "proj_out.weight"));
    }

    [Fact]
    public void The_search_for_the_weight_at_fault_ends_when_the_run_is_cancelled()
    {
        using var scope = new TensorScope();
        Damage(Transformer, "proj_out.weight", float.NaN);
        using var pipeline = VideoPipeline.Load(folder.Path);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        // Raised where the exception is thrown, before anything catches it.
        AppDomain.CurrentDomain.FirstChanceException += StopAtFault;
        try
        {
            Assert.ThrowsAny<OperationCanceledException>(() => pipeline.GenerateLatents(Picture, cancellationToken: stop.Token));
        }
        finally
        {
            AppDomain.CurrentDomain.FirstChanceException -= StopAtFault;
        }

        FaultAssert.Is(Assert.Throws<CheckpointException>(() => pipeline.GenerateLatents(Picture, cancellationToken: Cancel)), "weight_not_finite", ("key", "proj_out.weight"));

        void StopAtFault(object? sender, System.Runtime.ExceptionServices.FirstChanceExceptionEventArgs e)
        {
            if (e.Exception is NonFiniteException)
                stop.Cancel();
        }
    }

    [Fact]
    public void A_weight_of_a_model_in_memory_is_named()
    {
        using var scope = new TensorScope();
        using var loaded = VideoPipeline.Load(folder.Path);
        using var models = Models.Of(folder);
        using var pipeline = VideoPipeline.Of(models.Text, models.Transformer, models.Vae, TinyCheckpoint.Settings);
        models.Transformer.NamedParameters().Single(p => p.Key == "proj_out.weight").Parameter.Value.Select(0, 0).Fill(double.NaN);
        var error = Assert.Throws<NonFiniteException>(() => pipeline.GenerateLatents(Picture, cancellationToken: Cancel));
        Assert.Equal(ModelPart.Transformer, error.Part);
        Assert.Contains("its weight proj_out.weight holds such a number", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.NegativeInfinity)]
    public void Latents_that_are_no_numbers_are_neither_kept_nor_read(float number)
    {
        using var scope = new TensorScope();
        var latents = Tensor.Zeros([1, 4, 2, 8, 8]);
        var path = folder.File("latents.safetensors");
        LatentFile.Write(path, LatentClip.Of(latents, TinyCheckpoint.Settings.Latent));
        latents.Select(1, 3).Select(1, 1).Fill(number);
        Assert.Contains("not finite", Assert.Throws<ArgumentException>(() => LatentClip.Of(latents, TinyCheckpoint.Settings.Latent)).Message, StringComparison.Ordinal);
        var bytes = File.ReadAllBytes(path);
        BitConverter.GetBytes(number).CopyTo(bytes, bytes.Length - 8);
        File.WriteAllBytes(path, bytes);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => LatentFile.Read(path)), "latents_not_finite", ("file", path), ("key", "latents"));
    }

    [Theory]
    [InlineData("NaN")]
    [InlineData("1e400")]
    [InlineData("-Infinity")]
    public void Statistics_of_latents_are_finite_numbers(string scale)
    {
        using var scope = new TensorScope();
        var path = folder.File("latents.safetensors");
        var metadata = new[] { "image_shift", "image_scale", "video_shift", "video_scale" }.ToDictionary(name => name, name => name == "video_scale" ? scale : "1");
        SafetensorsWriter.Write(path, [("latents", Tensor.Zeros([1, 4, 2, 8, 8]))], metadata);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => LatentFile.Read(path)), "latents_lack", ("file", path), ("key", "video_scale"));
    }

    [Fact]
    public void A_shard_is_named_rather_than_the_index()
    {
        using var scope = new TensorScope();
        var tensors = Enumerable.Range(0, 3).Select(i => (Key: $"w{i}", Value: Tensor.Full([4], i == 1 ? double.NaN : i))).ToList();
        var next = 0;
        ShardedWriter.Write(folder.Path, "model", [.. tensors.Select(t => new TensorDeclaration(t.Key, t.Value.Type, t.Value.Shape))], 16,
            (file, entry) => SafetensorsWriter.WriteData(file, entry, tensors[next++].Value));
        using var source = WeightsFile.Open(folder.Path);
        Assert.Equal((folder.File("model-00002-of-00003.safetensors"), "w1"), source.FindNonFinite(Cancel));
    }

    private string Damage(string component, string key, float number)
    {
        var (path, offset) = Directory.GetFiles(Path.GetDirectoryName(folder.File(component, "x"))!, "*.safetensors").Select(Place).Single(place => place.Offset > 0);
        var bytes = File.ReadAllBytes(path);
        BitConverter.GetBytes(number).CopyTo(bytes, offset);
        File.WriteAllBytes(path, bytes);
        return path;

        (string Path, long Offset) Place(string name)
        {
            using var file = SafetensorsFile.Open(name);
            return (name, file.Entries.TryGetValue(key, out var entry) ? entry.Offset : 0);
        }
    }

    private sealed record Models(PyramidFlow.Models.PromptEncoder Text, PyramidFlow.Models.PyramidTransformer Transformer, PyramidFlow.Models.CausalVideoVae Vae) : IDisposable
    {
        internal static Models Of(TemporaryFolder folder)
        {
            var checkpoint = CheckpointFolder.Open(folder.Path);
            var transformer = PyramidFlow.Models.TransformerConfigs.Load(checkpoint.Transformer().ConfigFile).Build();
            using var weights = checkpoint.Transformer().OpenWeights();
            transformer.Load(weights, ElementType.Float32);
            return new Models(PyramidFlow.Models.PromptEncoder.Load(checkpoint, ElementType.Float32), transformer, PyramidFlow.Models.CausalVideoVae.Load(checkpoint.Vae, ElementType.Float32));
        }

        public void Dispose()
        {
            Text.Dispose();
            Transformer.Dispose();
            Vae.Dispose();
        }
    }
}
