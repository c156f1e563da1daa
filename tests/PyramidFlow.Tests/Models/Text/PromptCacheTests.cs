using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Models.Text;

public sealed class PromptCacheTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly TemporaryFolder outside = new();

    public PromptCacheTests() => TinyCheckpoint.Write(folder);

    private string Cache => Path.Combine(outside.Path, "cache");

    private FileInfo[] Kept => new DirectoryInfo(Cache).GetFiles();

    public void Dispose()
    {
        folder.Dispose();
        outside.Dispose();
    }

    [Fact]
    public void A_prompt_seen_before_needs_no_text_encoder_and_gives_the_same_features()
    {
        var first = Features("a cat", out var encoded);
        Assert.True(encoded);
        Assert.Equal(first, Features("a cat", out encoded));
        Assert.False(encoded);
        Features("a dog", out encoded);
        Assert.True(encoded);
        Assert.Equal(2, Kept.Length);
    }

    [Fact]
    public void Another_type_another_encoder_and_another_vocabulary_are_other_entries()
    {
        Features("a cat", out _);
        Features("a cat", out var encoded, ElementType.BFloat16);
        Assert.True(encoded);
        Change("text_encoder_2/config.json", text => text.Replace("{", "{ ", StringComparison.Ordinal));
        Features("a cat", out encoded);
        Assert.True(encoded);
        var weights = Directory.GetFiles(folder.File("text_encoder"), "*.safetensors").Single();
        var bytes = File.ReadAllBytes(weights);
        bytes[^1] ^= 1;
        File.WriteAllBytes(weights, bytes);
        Features("a cat", out encoded);
        Assert.True(encoded);
        Assert.Equal(4, Kept.Length);
    }

    [Fact]
    public void The_long_prompt_that_was_cut_is_told_again()
    {
        var text = string.Join(' ', Enumerable.Repeat("cat", 300));
        Assert.Equal(Warnings(text), Warnings(text));
        Assert.NotEmpty(Warnings(text));
    }

    [Theory]
    [InlineData("damaged")]
    [InlineData("other")]
    [InlineData("empty")]
    [InlineData("huge")]
    [InlineData("link")]
    [InlineData("warnings: [null]")]
    [InlineData("warnings: null")]
    [InlineData("warnings: [\"\\ud800\"]")]
    [InlineData("warnings: {}")]
    public void A_file_that_is_not_what_its_name_promises_is_not_believed(string fault)
    {
        var expected = Features("a cat", out _);
        var path = Assert.Single(Kept).FullName;
        if (fault == "other")
        {
            Features("a dog", out _);
            File.Copy(Kept.Single(file => file.FullName != path).FullName, path, overwrite: true);
        }
        else if (fault.StartsWith("warnings: ", StringComparison.Ordinal))
        {
            Rewrite(path, "warnings", fault["warnings: ".Length..]);
        }
        else if (fault == "link")
        {
            File.Move(path, Path.Combine(outside.Path, "elsewhere"));
            File.CreateSymbolicLink(path, Path.Combine(outside.Path, "elsewhere"));
        }
        else
        {
            var bytes = File.ReadAllBytes(path);
            bytes[^1] ^= 64;
            File.WriteAllBytes(path, fault == "empty" ? [] : fault == "huge" ? [.. bytes, .. new byte[1 << 20]] : bytes);
        }

        Assert.Equal(expected, Features("a cat", out var encoded));
        Assert.True(encoded);
        Assert.Equal(expected, Features("a cat", out encoded));
        Assert.False(encoded);
    }

    [Fact]
    public void The_prompts_unused_for_longest_go_and_what_is_not_the_caches_own_stays()
    {
        Features("a cat", out _);
        var size = Assert.Single(Kept).Length;
        File.WriteAllText(Path.Combine(Cache, "notes.txt"), "mine");
        File.WriteAllText(Path.Combine(Cache, "mine.safetensors"), "mine");
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var models = Models();
        var cache = new PromptCache(Cache, [1], models.Text, ElementType.Float32, Device.Cpu, limit: (2 * size) + (size / 2));
        foreach (var file in Kept)
            file.LastWriteTimeUtc = DateTime.UtcNow.AddHours(-1);
        Assert.Null(cache.Keep("a cat", models.Text.Encode(["a cat"])));
        File.SetLastWriteTimeUtc(Kept.MaxBy(file => file.LastWriteTimeUtc)!.FullName, DateTime.UtcNow.AddMinutes(-2));
        Assert.Null(cache.Keep("a dog", models.Text.Encode(["a dog"])));
        Assert.NotNull(cache.Find("a cat"));
        Assert.Null(cache.Keep("a rat", models.Text.Encode(["a rat"])));
        Assert.NotNull(cache.Find("a cat"));
        Assert.NotNull(cache.Find("a rat"));
        Assert.Null(cache.Find("a dog"));
        Assert.Equal(4, Kept.Length);
    }

    [Fact]
    public void A_folder_that_cannot_be_written_is_a_warning_and_nothing_more()
    {
        File.WriteAllText(Cache, "a file is in the way");
        Assert.StartsWith("the encoded prompt could not be kept in ", Assert.Single(Warnings("a cat")), StringComparison.Ordinal);
    }

    private static void Rewrite(string path, string key, string value)
    {
        using var scope = new TensorScope();
        Dictionary<string, string> metadata;
        List<(string, Tensor)> tensors;
        using (var file = SafetensorsFile.Open(path))
        {
            metadata = new(file.Metadata) { [key] = value };
            tensors = [.. file.Entries.Values.Select(entry => (entry.Name, file.Read(entry.Name).Clone()))];
        }

        SafetensorsWriter.Write(path, tensors, metadata);
    }

    private void Change(string name, Func<string, string> change) => folder.Write(name, change(File.ReadAllText(folder.File(name))));

    private PipelineModels Models(ElementType type = ElementType.Float32) =>
        PipelineModels.Load(CheckpointFolder.Open(folder.Path), new PipelineOptions { TextCache = Cache, Type = type }, null);

    private float[] Features(string text, out bool encoded, ElementType type = ElementType.Float32)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var models = Models(type);
        using var book = models.Prompted(warning => Assert.Fail(warning));
        var condition = book.Text(text, null).Prompt;
        encoded = models.Text.Models.SelectMany(model => model.NamedParameters()).Any(named => named.Parameter.HasValue);
        return [.. condition.Tokens.To(ElementType.Float32).ToArray<float>(), .. condition.Pooled.To(ElementType.Float32).ToArray<float>()];
    }

    private List<string> Warnings(string text)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var models = Models();
        var warnings = new List<string>();
        using var book = models.Prompted(warnings.Add);
        book.Text(text, null);
        return warnings;
    }
}
