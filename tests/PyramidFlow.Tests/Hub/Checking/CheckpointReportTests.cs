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
            p => Assert.Contains("pipeline.json: fps is 0", p, StringComparison.Ordinal),
            p => Assert.Contains("has no causal_video_vae folder: download it", p, StringComparison.Ordinal),
            p => Assert.Contains("config.json does not exist", p, StringComparison.Ordinal),
            p => Assert.Contains("has no tokenizer folder", p, StringComparison.Ordinal),
            p => Assert.Contains("lacks model-00002-of-00002.safetensors, which model.safetensors.index.json names", p, StringComparison.Ordinal));
    }

    [Fact]
    public void A_file_that_was_not_downloaded_whole_says_how_much_is_missing()
    {
        var path = folder.File("text_encoder_2", "model-00001-of-00002.safetensors");
        var whole = File.ReadAllBytes(path);
        File.WriteAllBytes(path, whole[..^1000]);
        var fault = Assert.Single(Faults());
        Assert.Contains($"{path} is cut off: it has {whole.Length - 1000} of {whole.Length} bytes, 1000 are missing", fault, StringComparison.Ordinal);
        Assert.Contains("models download", fault, StringComparison.Ordinal);
    }

    [Fact]
    public void Weights_of_another_model_than_the_config_names_both_files()
    {
        using var other = new TemporaryFolder();
        RandomCheckpoint.Write(other.Path, new RandomOptions("sd3", RandomScale.Tiny), cancellationToken: Cancel);
        File.Copy(other.File(Transformer, Weights), folder.File(Transformer, Weights), overwrite: true);
        var fault = Assert.Single(Faults());
        Assert.StartsWith($"{folder.File(Transformer, "config.json")} and {folder.File(Transformer, Weights)} disagree: ", fault);
        Assert.Contains("is missing", fault, StringComparison.Ordinal);
        Assert.EndsWith("take both from one checkpoint, or get it whole with models download", fault);
    }

    [Fact]
    public void Shapes_of_another_size_and_numbers_of_another_kind_are_named()
    {
        using var scope = new TensorScope();
        var path = folder.File("causal_video_vae", Weights);
        List<(string Key, Tensor Value)> tensors;
        using (var source = SafetensorsFile.Open(path))
            tensors = [.. source.Keys.Select(key => (key, source.Read(key).Clone()))];
        tensors[0] = (tensors[0].Key, Tensor.Ones([7]));
        tensors[1] = (tensors[1].Key, tensors[1].Value.To(ElementType.Int8));
        SafetensorsWriter.Write(path, tensors.Append(("extra.weight", Tensor.Ones([1]))));
        var fault = Assert.Single(Faults());
        Assert.Contains($"{tensors[0].Key} is [7] where the model has [", fault, StringComparison.Ordinal);
        Assert.Contains($"{tensors[1].Key} is of Int8 where the model has floating point numbers", fault, StringComparison.Ordinal);
        Assert.Contains("extra.weight is not part of this model", fault, StringComparison.Ordinal);
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
            p => Assert.Contains($"{Transformer} takes latents of 4 channels where causal_video_vae gives 16", p, StringComparison.Ordinal),
            p => Assert.Contains($"{Transformer} takes text tokens of 32 where text_encoder_2 gives 128", p, StringComparison.Ordinal),
            p => Assert.Contains($"{Transformer} takes pooled text of 32 where text_encoder give 128", p, StringComparison.Ordinal));
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
        Assert.Contains("are of two kinds", Assert.Single(report.Variants[1].Faults), StringComparison.Ordinal);
    }

    [Fact]
    public void A_tokenizer_with_more_tokens_than_the_encoder_has_rows_is_named()
    {
        PyramidFlow.Models.Tokenizers.WordTokenizerFiles.WriteT5(Path.Combine(folder.Path, "tokenizer_2"), Enumerable.Range(0, 500).Select(i => $"w{i}"));
        Assert.Contains("tokens where text_encoder_2 has", Assert.Single(Faults()), StringComparison.Ordinal);
    }

    private CheckpointReport Report() => CheckpointReport.Create(CheckpointFolder.Open(folder.Path), cancellationToken: TestContext.Current.CancellationToken);

    private IReadOnlyList<string> Faults() => Report().Variants[0].Faults;
}
