using PyramidFlow.Models;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Hub.Conversion;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Hub.Conversion;

public sealed class CheckpointConversionTests : IDisposable
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private readonly TemporaryFolder folder = new();

    private string Target => Path.Combine(folder.Path, "out");

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("miniflux")]
    [InlineData("sd3")]
    public void A_whole_checkpoint_changes_its_type_and_still_runs(string layout)
    {
        var source = Path.Combine(folder.Path, "in");
        RandomCheckpoint.Write(source, new RandomOptions(layout, RandomScale.Tiny), cancellationToken: Cancel);
        Assert.Empty(CheckpointConversion.Convert(source, Target, new ConversionOptions { Type = ElementType.Float16, ShardBytes = 4000 }, cancellationToken: Cancel));
        var report = CheckpointReport.Create(CheckpointFolder.Open(Target), cancellationToken: TestContext.Current.CancellationToken);
        Assert.All(report.Variants, variant => Assert.Empty(variant.Faults));
        Assert.All(report.Components.Where(part => part.Weights > 0), part => Assert.Equal(["Float16"], part.Types));
        Assert.Equal(File.ReadAllText(Path.Combine(source, "pipeline.json")), File.ReadAllText(Path.Combine(Target, "pipeline.json")));
        Assert.True(File.Exists(Path.Combine(Target, "diffusion_transformer_384p", "diffusion_pytorch_model.safetensors.index.json")));
        using var scope = new TensorScope();
        using var before = WeightsFile.Open(Path.Combine(source, "causal_video_vae"));
        using var after = WeightsFile.Open(Path.Combine(Target, "causal_video_vae"));
        foreach (var key in before.Keys)
            Assert.Equal(before.Read(key).To(ElementType.Float16).RawBytes(), after.Read(key).RawBytes());
    }

    [Fact]
    public void Without_a_type_every_byte_stays()
    {
        using var scope = new TensorScope();
        var path = Source(("a", Tensor.From<float>([1, 2, 3]).To(ElementType.BFloat16)), ("n", Tensor.From<long>([1L << 40])));
        CheckpointConversion.Convert(path, Target, cancellationToken: Cancel);
        using var after = WeightsFile.Open(Target);
        Assert.Equal(ElementType.BFloat16, after.Describe("a").Type);
        Assert.Equal([1L << 40], after.Read("n").ToArray<long>());
    }

    [Fact]
    public void Integers_keep_their_type()
    {
        using var scope = new TensorScope();
        CheckpointConversion.Convert(Source(("a", Tensor.Ones([2])), ("n", Tensor.From<long>([3]))), Target, new ConversionOptions { Type = ElementType.BFloat16 }, cancellationToken: Cancel);
        using var after = WeightsFile.Open(Target);
        Assert.Equal((ElementType.BFloat16, ElementType.Int64), (after.Describe("a").Type, after.Describe("n").Type));
    }

    [Theory]
    [InlineData("module.", "")]
    [InlineData("dit.", "")]
    [InlineData("module.dit.", "")]
    [InlineData("dit.module.", "")]
    [InlineData("ema.module.", "model.module.")]
    [InlineData("model.", "optimizer.state.0.")]
    [InlineData("vae.", "loss.")]
    public void What_a_trainer_puts_before_the_keys_goes_and_what_is_no_model_too(string prefix, string other)
    {
        using var scope = new TensorScope();
        var tensors = new List<(string, Tensor)> { (prefix + "a.weight", Tensor.Ones([2])), (prefix + "b", Tensor.Ones([3])) };
        if (other.Length > 0)
            tensors.Add((other + "a.weight", Tensor.Ones([9])));
        var notes = CheckpointConversion.Convert(Source([.. tensors]), Target, cancellationToken: Cancel);
        using var after = WeightsFile.Open(Target);
        Assert.Equal(["a.weight", "b"], after.Keys.Order(StringComparer.Ordinal));
        Assert.Equal([2], after.Describe("a.weight").Shape);
        Assert.Contains("has no config.json", Assert.Single(notes), StringComparison.Ordinal);
    }

    [Fact]
    public void Transformer_and_vae_of_one_file_part()
    {
        using var scope = new TensorScope();
        CheckpointConversion.Convert(Source(("model.dit.a", Tensor.Ones([2])), ("model.vae.b", Tensor.Ones([3])), ("model.text_encoder.c", Tensor.Ones([4]))), Target, cancellationToken: Cancel);
        using var transformer = WeightsFile.Open(Path.Combine(Target, "diffusion_transformer"));
        using var vae = WeightsFile.Open(Path.Combine(Target, "causal_video_vae"));
        Assert.Equal(["a"], transformer.Keys);
        Assert.Equal(["b"], vae.Keys);
    }

    [Fact]
    public void A_checkpoint_of_a_trainer_is_read_without_converting_it()
    {
        RandomCheckpoint.Write(Target, new RandomOptions("miniflux", RandomScale.Tiny), cancellationToken: Cancel);
        foreach (var (part, prefix) in ((string, string)[])[("diffusion_transformer_384p", "module.dit."), ("causal_video_vae", "vae.")])
        {
            using var scope = new TensorScope();
            var path = Path.Combine(Target, part, "diffusion_pytorch_model.safetensors");
            List<(string Key, Tensor Value)> tensors;
            using (var source = SafetensorsFile.Open(path))
                tensors = [.. source.Keys.Select(key => (prefix + key, source.Read(key).Clone()))];
            SafetensorsWriter.Write(path, tensors);
        }

        Assert.True(CheckpointReport.Create(CheckpointFolder.Open(Target), cancellationToken: TestContext.Current.CancellationToken).CanRun);
    }

    [Fact]
    public void A_number_too_large_for_fp16_is_named_and_nothing_is_left()
    {
        using var scope = new TensorScope();
        var path = Source(("a", Tensor.Ones([2])), ("big.weight", Tensor.From<float>([1, -70000])));
        var error = Assert.Throws<CheckpointException>(() => CheckpointConversion.Convert(path, Target, new ConversionOptions { Type = ElementType.Float16 }, cancellationToken: Cancel));
        FaultAssert.Is(error, "too_large_for_fp16", ("file", path), ("key", "big.weight"));
        Assert.Equal(70_000.0, error.Parameters["largest"]);
        Assert.Equal(["source.safetensors"], Directory.GetFileSystemEntries(folder.Path).Select(Path.GetFileName));
    }

    [Fact]
    public void A_tied_copy_and_old_position_ids_are_left_out_and_the_config_comes_along()
    {
        using var scope = new TensorScope();
        folder.Write("config.json", "{}");
        CheckpointConversion.Convert(Source(("shared.weight", Tensor.Ones([2])), ("encoder.embed_tokens.weight", Tensor.Ones([2]))), Target, cancellationToken: Cancel);
        Assert.Equal(["config.json", "model.safetensors"], Directory.GetFiles(Target).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        using var after = WeightsFile.Open(Target);
        Assert.Equal(["shared.weight"], after.Keys);
    }

    private string Source(params (string Key, Tensor Value)[] tensors)
    {
        var path = folder.File("source.safetensors");
        SafetensorsWriter.Write(path, tensors);
        return path;
    }
}
