using System.Runtime.InteropServices;
using PyramidFlow.Testing;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Torch.Tests.Checkpoints;

public sealed class WeightsFileTests : IDisposable
{
    private const string Index = "model.safetensors.index.json";

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("diffusion_pytorch_model.safetensors")]
    [InlineData("model.safetensors")]
    [InlineData("model.fp16.safetensors")]
    [InlineData("diffusion_pytorch_model.bf16.safetensors")]
    [InlineData("mine.safetensors")]
    [InlineData("diffusion_pytorch_model.bin")]
    [InlineData("pytorch_model.bin")]
    [InlineData("pytorch_model.fp16.bin")]
    public void Opens_a_single_file_by_folder_or_by_path(string name)
    {
        Weights(name, "a");
        AssertHolds(folder.Path, "a");
        AssertHolds(folder.File(name), "a");
    }

    [Theory]
    [InlineData("checkpoint.pt")]
    [InlineData("checkpoint.PTH")]
    public void Opens_an_archive_by_its_path_or_as_the_only_one_of_its_folder(string name)
    {
        Weights(name, "a");
        AssertHolds(folder.File(name), "a");
        AssertHolds(folder.Path, "a");
        Weights("other.pt", "a");
        FaultAssert.Is(Fault(folder.Path), "several_weights", ("folder", folder.Path), ("name", "pytorch_model.bin"));
    }

    [Fact]
    public void Prefers_full_precision_then_safetensors()
    {
        string[] order = ["diffusion_pytorch_model.safetensors", "model.safetensors", "pytorch_model.bin", "model.bf16.safetensors", "model.fp16.safetensors", "mine.safetensors", "epoch3.pt"];
        foreach (var name in order)
            Weights(name, name);
        foreach (var name in order)
        {
            AssertHolds(folder.Path, name);
            File.Delete(folder.File(name));
        }

        FaultAssert.Is(Fault(folder.Path), "no_weights", ("folder", folder.Path),
            ("known", "diffusion_pytorch_model.safetensors, model.safetensors, pytorch_model.safetensors, diffusion_pytorch_model.bin, model.bin, pytorch_model.bin"));
    }

    [Theory]
    [InlineData("model.safetensors", "1.safetensors", "2.safetensors", "model.safetensors.index.json")]
    [InlineData("model.safetensors", "1.safetensors", "2.safetensors", "model.safetensors.index.fp16.json")]
    [InlineData("pytorch_model.bin", "1.bin", "2.bin", "pytorch_model.bin.index.json")]
    public void Reads_shards(string whole, string first, string second, string index)
    {
        Weights(first, "a", "c");
        Weights(second, "b");
        folder.Write(index, $$$"""{"metadata":{"total_size":12},"weight_map":{"a":"{{{first}}}","b":"{{{second}}}","c":"{{{first}}}"}}""");
        using (var source = WeightsFile.Open(folder.Path))
        {
            Assert.Equal(["a", "b", "c"], source.Keys.Order());
            Assert.Equal(folder.File(index), source.Name);
            Assert.Equal([2], source.Describe("b").Shape);
            using var b = source.Read("b");
            Assert.Equal([1f, 1f], b.ToArray<float>());
        }

        Weights(whole, "whole");
        AssertHolds(folder.Path, "whole");
    }

    [Theory]
    [InlineData("../outside.safetensors")]
    [InlineData("..")]
    [InlineData("sub/1.safetensors")]
    [InlineData("..\\\\outside.safetensors")]
    [InlineData("/etc/hostname")]
    [InlineData("C:x.safetensors")]
    [InlineData("")]
    public void Shard_names_may_not_leave_the_folder(string name) =>
        AssertIndexFault($$$"""{"weight_map":{"a":"1.safetensors","b":"{{{name}}}"}}""", "unsafe_shard_name", "name", name.Replace("\\\\", "\\", StringComparison.Ordinal));

    [Theory]
    [InlineData("""{"weight_map":{"a":"1.safetensors","b":"3.safetensors"}}""", "shards_missing", "files", "3.safetensors")]
    [InlineData("""{"weight_map":{"a":"1.safetensors","d":"2.safetensors"}}""", "shard_lacks_key", "key", "d")]
    [InlineData("""{"weight_map":{"a":"1.safetensors","b":"double.safetensors"}}""", "key_in_two_shards", "key", "a")]
    [InlineData("""{"weight_map":{"a":"1.safetensors","b":"README.md"}}""", "not_weights", "known", ".safetensors, .bin, .pt, .pth")]
    [InlineData("""{"weight_map":{}}""", "index_empty")]
    [InlineData("""{"weight_map":{"a":7}}""", "index_value_invalid", "key", "a")]
    [InlineData("""{"weight_map":{"a":null}}""", "unsafe_shard_name", "name", "")]
    [InlineData("""{"weight_map":[]}""", "index_without_map")]
    [InlineData("""{}""", "index_without_map")]
    [InlineData("[]", "index_without_map")]
    [InlineData("""{"weight_map":""", "index_malformed")]
    [InlineData("""{"weight_map":{"w":"\ud800"}}""", "index_malformed")]
    [InlineData("""{"weight_map":{"\udc00":"model-00001-of-00001.safetensors"}}""", "index_malformed")]
    public void Faulty_indexes_are_named(string index, string code, string? parameter = null, object? value = null) => AssertIndexFault(index, code, parameter, value);

    [Fact]
    public void Links_may_not_leave_the_folder()
    {
        Weights("outside/secret.safetensors", "a");
        Directory.CreateDirectory(folder.File("inside"));
        File.CreateSymbolicLink(folder.File("inside/model.safetensors"), "../outside/secret.safetensors");
        FaultAssert.Is(Fault(folder.File("inside")), "link_outside", ("file", folder.File("inside/model.safetensors")), ("target", folder.File("outside/secret.safetensors")));
        File.Delete(folder.File("inside/model.safetensors"));
        File.CreateSymbolicLink(folder.File("inside/1.safetensors"), folder.File("outside/secret.safetensors"));
        folder.Write("inside/" + Index, """{"weight_map":{"a":"1.safetensors"}}""");
        FaultAssert.Is(Fault(folder.File("inside")), "link_outside", ("file", folder.File("inside/1.safetensors")));
    }

    [Fact]
    public void Links_within_the_folder_and_of_the_hub_cache_are_followed()
    {
        Weights("own/real.safetensors", "a");
        File.CreateSymbolicLink(folder.File("own/model.safetensors"), "real.safetensors");
        AssertHolds(folder.File("own"), "a");
        Directory.CreateSymbolicLink(folder.File("linked"), folder.File("own"));
        AssertHolds(folder.File("linked"), "a");

        Weights("models--x--y/blobs/0123.safetensors", "b");
        Directory.CreateDirectory(folder.File("models--x--y/snapshots/abc/vae"));
        File.CreateSymbolicLink(folder.File("models--x--y/snapshots/abc/vae/model.safetensors"), "../../../blobs/0123.safetensors");
        AssertHolds(folder.File("models--x--y/snapshots/abc/vae"), "b");
        File.Delete(folder.File("models--x--y/snapshots/abc/vae/model.safetensors"));
        File.CreateSymbolicLink(folder.File("models--x--y/snapshots/abc/vae/model.safetensors"), folder.File("own/real.safetensors"));
        FaultAssert.Is(Fault(folder.File("models--x--y/snapshots/abc/vae")), "link_outside", ("target", folder.File("own/real.safetensors")));
    }

    [Fact]
    public void Refuses_to_choose_among_unusual_names()
    {
        Weights("b.safetensors", "a");
        Weights("a.safetensors", "a");
        FaultAssert.Is(Fault(folder.Path), "several_weights", ("files", "a.safetensors, b.safetensors"), ("name", "model.safetensors"));
    }

    [Fact]
    public void What_is_no_weights_file_says_what_it_needs()
    {
        FaultAssert.Is(Fault(folder.File("nowhere")), "folder_missing", ("folder", folder.File("nowhere")));
        FaultAssert.Is(Fault(folder.Write("x.txt", "x")), "not_weights", ("file", folder.File("x.txt")), ("known", ".safetensors, .bin, .pt, .pth"));
        folder.Write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n");
        FaultAssert.Is(Fault(folder.Path), "lfs_pointer", ("file", folder.File("model.safetensors")));
    }

    private static void AssertHolds(string path, params string[] keys)
    {
        using var source = WeightsFile.Open(path);
        Assert.Equal(keys, source.Keys);
        foreach (var key in keys)
        {
            using var tensor = source.Read(key);
            Assert.Equal([1f, 1f], tensor.ToArray<float>());
        }
    }

    private static CheckpointException Fault(string path) => Assert.Throws<CheckpointException>(() => WeightsFile.Open(path));

    private void AssertIndexFault(string index, string code, string? parameter, object? value)
    {
        Weights("1.safetensors", "a", "c");
        Weights("2.safetensors", "b");
        Weights("double.safetensors", "a", "b");
        folder.Write("README.md", "x");
        folder.Write(Index, index);
        FaultAssert.Is(Fault(folder.Path), code, parameter is null ? [] : [(parameter, value)]);
    }

    private void Weights(string name, params string[] keys)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(folder.File(name))!);
        if (name.EndsWith(".safetensors", StringComparison.Ordinal))
        {
            using var scope = new TensorScope();
            SafetensorsWriter.Write(folder.File(name), keys.Select(key => (key, Tensor.Ones([2]))));
            return;
        }

        var pickle = new PickleWriter().StateDict(d => keys.ToList().ForEach(key => d.Text(key).Tensor("torch.FloatStorage", "0", 2, 0, [2], [1])));
        folder.Write(name, ArchiveWriter.Archive(pickle.End(), MemoryMarshal.AsBytes<float>([1, 1]).ToArray()));
    }
}
