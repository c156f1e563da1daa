using PyramidFlow.Hub;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Hub;

public sealed class WeightsFileTests
{
    private const string IndexName = "model.safetensors.index.json";

    [Theory]
    [InlineData("diffusion_pytorch_model.safetensors")]
    [InlineData("model.safetensors")]
    [InlineData("mine.safetensors")]
    public void Opens_a_single_file(string name)
    {
        using var folder = new TemporaryFolder();
        ReleasedLayout.Weights(folder.File(name), ("a", 3));
        using var source = WeightsFile.Open(folder.Path);
        Assert.Equal(["a"], source.Keys);
    }

    [Fact]
    public void Prefers_the_usual_name_to_other_precisions_beside_it()
    {
        using var folder = new TemporaryFolder();
        ReleasedLayout.Weights(folder.File("model.fp16.safetensors"), ("half", 3));
        ReleasedLayout.Weights(folder.File("model.safetensors"), ("full", 3));
        using var source = WeightsFile.Open(folder.Path);
        Assert.Equal(["full"], source.Keys);
    }

    [Fact]
    public void Refuses_to_choose_among_unusual_names()
    {
        using var folder = new TemporaryFolder();
        ReleasedLayout.Weights(folder.File("b.safetensors"), ("a", 3));
        ReleasedLayout.Weights(folder.File("a.safetensors"), ("a", 3));
        Assert.Contains("several weights (a.safetensors, b.safetensors): rename", Fault(folder), StringComparison.Ordinal);
    }

    [Fact]
    public void Reads_a_sharded_checkpoint()
    {
        using var folder = new TemporaryFolder();
        Shards(folder, """{"weight_map":{"a":"1.safetensors","b":"2.safetensors","c":"1.safetensors"}}""");
        using var source = WeightsFile.Open(folder.Path);
        Assert.Equal(["a", "b", "c"], source.Keys.Order());
        Assert.Equal([4], source.Describe("b").Shape);
    }

    [Theory]
    [InlineData("../outside.safetensors")]
    [InlineData("..")]
    [InlineData("sub/1.safetensors")]
    [InlineData("..\\\\outside.safetensors")]
    [InlineData("/etc/hostname")]
    [InlineData("C:x.safetensors")]
    [InlineData("")]
    public void Shard_names_may_not_leave_the_folder(string name)
    {
        using var folder = new TemporaryFolder();
        Shards(folder, $$$"""{"weight_map":{"a":"1.safetensors","b":"{{{name}}}"}}""");
        Assert.Contains("which is not a file of this folder", Fault(folder), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"weight_map":{"a":"1.safetensors","b":"3.safetensors"}}""", "lacks 3.safetensors, which model.safetensors.index.json names: download it")]
    [InlineData("""{"weight_map":{"a":"1.safetensors","d":"2.safetensors"}}""", "2.safetensors lacks d, which")]
    [InlineData("""{"weight_map":{}}""", "weight_map is empty")]
    [InlineData("""{"weight_map":{"a":7}}""", "weight_map.a has a value of the wrong kind")]
    [InlineData("""{"weight_map":{"a":null}}""", "which is not a file of this folder")]
    [InlineData("""{}""", "lacks weight_map")]
    [InlineData("""{"weight_map":""", "is not valid JSON")]
    public void Faulty_indexes_are_named(string index, string message)
    {
        using var folder = new TemporaryFolder();
        Shards(folder, index);
        Assert.Contains(message, Fault(folder), StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_cut_off_is_named()
    {
        using var folder = new TemporaryFolder();
        ReleasedLayout.Weights(folder.File("model.safetensors"), ("a", 100));
        using (var file = File.OpenWrite(folder.File("model.safetensors")))
            file.SetLength(file.Length - 8);
        Assert.Contains("the file may be cut off", Fault(folder), StringComparison.Ordinal);
    }

    [Fact]
    public void A_git_lfs_pointer_is_recognised()
    {
        using var folder = new TemporaryFolder();
        folder.Write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n");
        Assert.Contains("run git lfs pull", Fault(folder), StringComparison.Ordinal);
    }

    [Fact]
    public void An_empty_or_missing_folder_says_what_it_needs()
    {
        using var folder = new TemporaryFolder();
        Assert.Contains("holds no weights", Fault(folder), StringComparison.Ordinal);
        Assert.Throws<CheckpointException>(() => WeightsFile.Open(Path.Combine(folder.Path, "nowhere")));
    }

    private static void Shards(TemporaryFolder folder, string index)
    {
        ReleasedLayout.Weights(folder.File("1.safetensors"), ("a", 3), ("c", 5));
        ReleasedLayout.Weights(folder.File("2.safetensors"), ("b", 4));
        folder.Write(IndexName, index);
    }

    private static string Fault(TemporaryFolder folder) => Assert.Throws<CheckpointException>(() => WeightsFile.Open(folder.Path)).Message;
}
