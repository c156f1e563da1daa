using PyramidFlow.Models;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Hub.Checking;

public sealed class CheckpointReportTests : IDisposable
{
    private const string Transformer = "diffusion_transformer_384p", Weights = "diffusion_pytorch_model.safetensors";

    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public CheckpointReportTests() => RandomCheckpoint.Write(folder.Path, new RandomOptions("miniflux", RandomScale.Tiny), cancellationToken: Cancel);

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_whole_checkpoint_runs_and_its_parts_are_described()
    {
        var report = Report();
        Assert.True(report.CanRun);
        Assert.Equal(["384p"], report.Variants.Select(variant => variant.Variant));
        Assert.Equal([Transformer, "causal_video_vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"], report.Components.Select(part => part.Name));
        var transformer = report.Components[0];
        Assert.Equal(["BFloat16"], transformer.Types);
        Assert.Equal(transformer.Weights * 2, transformer.Bytes);
        Assert.Equal(new FileInfo(folder.File(Transformer, Weights)).Length / 1000, transformer.Bytes / 1000, 8.0);
    }

    [Fact]
    public void Faults_name_everything_that_is_missing_at_once()
    {
        Directory.Delete(Path.Combine(folder.Path, "causal_video_vae"), recursive: true);
        Directory.Delete(Path.Combine(folder.Path, "tokenizer"), recursive: true);
        File.Delete(folder.File("text_encoder", "config.json"));
        File.Delete(folder.File("text_encoder_2", "model-00002-of-00002.safetensors"));
        folder.Write("pipeline.json", "{\"fps\":0}");
        Assert.Collection(Faults(),
            fault => FaultAssert.Is(fault, "config_value_invalid", ("file", folder.File("pipeline.json")), ("key", "fps")),
            fault => FaultAssert.Is(fault, "component_missing", ("folder", folder.Path), ("component", "causal_video_vae")),
            fault => FaultAssert.Is(fault, "file_missing", ("file", folder.File("text_encoder", "config.json"))),
            fault => FaultAssert.Is(fault, "component_missing", ("folder", folder.Path), ("component", "tokenizer")),
            fault => FaultAssert.Is(fault, "shards_missing", ("files", "model-00002-of-00002.safetensors"), ("index", "model.safetensors.index.json")));
    }

    [Fact]
    public void A_file_that_was_not_downloaded_whole_says_how_much_is_missing()
    {
        var path = folder.File("text_encoder_2", "model-00001-of-00002.safetensors");
        var whole = File.ReadAllBytes(path);
        File.WriteAllBytes(path, whole[..^1000]);
        FaultAssert.Is(Assert.Single(Faults()), "file_cut_off", ("file", path), ("length", whole.Length - 1000L), ("needed", (long)whole.Length), ("missing", 1000L));
    }

    [Fact]
    public void Weights_of_another_model_than_the_config_names_both_files()
    {
        using var other = new TemporaryFolder();
        RandomCheckpoint.Write(other.Path, new RandomOptions("sd3", RandomScale.Tiny), cancellationToken: Cancel);
        File.Copy(other.File(Transformer, Weights), folder.File(Transformer, Weights), overwrite: true);
        var fault = Assert.Single(Faults());
        FaultAssert.Is(fault, "config_and_weights_disagree", ("config", folder.File(Transformer, "config.json")), ("file", folder.File(Transformer, Weights)));
        Assert.Contains(CheckpointFault.KeyMissing(""), (string)fault.Parameters["differences"]!, StringComparison.Ordinal);
    }

    [Fact]
    public void Shapes_of_another_size_and_numbers_of_another_kind_are_named()
    {
        using var scope = new TensorScope();
        var path = folder.File("causal_video_vae", Weights);
        List<(string Key, Tensor Value)> tensors;
        using (var source = SafetensorsFile.Open(path))
            tensors = [.. source.Keys.Select(key => (key, source.Read(key).Clone()))];
        var shape = tensors[0].Value.Shape;
        tensors[0] = (tensors[0].Key, Tensor.Ones([7]));
        tensors[1] = (tensors[1].Key, tensors[1].Value.To(ElementType.Int8));
        SafetensorsWriter.Write(path, tensors.Append(("extra.weight", Tensor.Ones([1]))));
        var fault = Assert.Single(Faults());
        FaultAssert.Is(fault, "config_and_weights_disagree", ("file", path));
        var differences = (string)fault.Parameters["differences"]!;
        Assert.Contains(CheckpointFault.ShapeDiffers(tensors[0].Key, [7], shape), differences, StringComparison.Ordinal);
        Assert.Contains(CheckpointFault.NotFloatingPoint(tensors[1].Key, ElementType.Int8), differences, StringComparison.Ordinal);
        Assert.Contains(CheckpointFault.KeyUnknown("extra.weight"), differences, StringComparison.Ordinal);
    }

    [Fact]
    public void Models_of_two_checkpoints_that_do_not_fit_are_named()
    {
        using var other = new TemporaryFolder();
        RandomCheckpoint.Write(other.Path, new RandomOptions(RandomLayout.Sprites, RandomScale.Tiny), cancellationToken: Cancel);
        foreach (var part in (string[])["causal_video_vae", "text_encoder_2", "text_encoder"])
        {
            Directory.Delete(Path.Combine(folder.Path, part), recursive: true);
            Directory.Move(Path.Combine(other.Path, part), Path.Combine(folder.Path, part));
        }

        Assert.Collection(Faults(),
            fault => FaultAssert.Is(fault, "latent_channels_differ", ("component", Transformer), ("takes", 4L), ("other", "causal_video_vae"), ("gives", 16L)),
            fault => FaultAssert.Is(fault, "text_width_differs", ("component", Transformer), ("takes", 32L), ("other", "text_encoder_2"), ("gives", 128L)),
            fault => FaultAssert.Is(fault, "pooled_width_differs", ("component", Transformer), ("takes", 32L), ("other", "text_encoder"), ("gives", 128L)));
    }

    [Fact]
    public void Transformers_of_two_kinds_in_one_folder_are_told_apart()
    {
        using var other = new TemporaryFolder();
        RandomCheckpoint.Write(other.Path, new RandomOptions("sd3", RandomScale.Tiny), cancellationToken: Cancel);
        Directory.Move(Path.Combine(other.Path, Transformer), Path.Combine(folder.Path, "diffusion_transformer_768p"));
        var report = Report();
        Assert.True(report.CanRun);
        Assert.True(report.Variants[0].Runs);
        FaultAssert.Is(Assert.Single(report.Variants[1].Faults), "two_families", ("component", "diffusion_transformer_768p"), ("other", Transformer), ("families", "pyramid_flux and pyramid_mmdit"));
    }

    [Fact]
    public void A_tokenizer_with_more_tokens_than_the_encoder_has_rows_is_named()
    {
        PyramidFlow.Models.Tokenizers.WordTokenizerFiles.WriteT5(Path.Combine(folder.Path, "tokenizer_2"), Enumerable.Range(0, 500).Select(i => $"w{i}"));
        FaultAssert.Is(Assert.Single(Faults()), "more_tokens_than_rows", ("folder", folder.File("tokenizer_2")), ("component", "text_encoder_2"));
    }

    private CheckpointReport Report() => CheckpointReport.Create(CheckpointFolder.Open(folder.Path), cancellationToken: TestContext.Current.CancellationToken);

    private IReadOnlyList<CheckpointException> Faults() => Report().Variants[0].Faults;
}
