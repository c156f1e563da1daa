using System.Buffers.Binary;
using System.Text;
using PyramidFlow.Testing;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Torch.Tests.Checkpoints;

public sealed class SafetensorsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("", "not_safetensors")]
    [InlineData("not json", "not_safetensors")]
    [InlineData("[]", "not_safetensors")]
    [InlineData("{} {}", "not_safetensors")]
    [InlineData("{}x", "not_safetensors")]
    [InlineData("""{"__metadata__":{"a":1}}""", "not_safetensors")]
    [InlineData("""{"w":7}""", "not_safetensors")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2]}}""", "tensor_incomplete", "key", "w")]
    [InlineData("""{"w":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}""", "unknown_element_type", "type", "F8_E4M3")]
    [InlineData("""{"w":{"dtype":null,"shape":[2],"data_offsets":[0,8]}}""", "unknown_element_type", "type", null)]
    [InlineData("""{"w":{"dtype":4,"shape":[2],"data_offsets":[0,8]}}""", "not_safetensors")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8,16]}}""", "not_two_offsets", "key", "w")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}""", "impossible_offsets", "begin", -8L)]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[16,8]}}""", "impossible_offsets", "end", 8L)]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[32,40]}}""", "file_cut_off")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[9223372036854775799,9223372036854775807]}}""", "not_safetensors", "reason", CheckpointFault.TooLargeForMemory)]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999999999999999]}}""", "not_safetensors")]
    [InlineData("""{"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", "negative_size", "size", -2L)]
    [InlineData("""{"w":{"dtype":"F32","shape":[-2,-1],"data_offsets":[0,8]}}""", "negative_size", "key", "w")]
    [InlineData("""{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", "size_differs", "shape", "[3]")]
    [InlineData("""{"w":{"dtype":"F32","shape":[1.5],"data_offsets":[0,8]}}""", "not_safetensors")]
    [InlineData("""{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}""", "not_safetensors", "reason", CheckpointFault.TooLargeForMemory)]
    [InlineData("""{"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}""", "not_safetensors")]
    [InlineData("""{"w":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}}""", "not_safetensors")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"v":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", "tensors_overlap", "second", "v")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}""", "key_twice", "key", "w")]
    [InlineData("""{"__metadata__":{"a":null}}""", "not_safetensors", "key", "__metadata__.a")]
    [InlineData("""{"__metadata__":["a"]}""", "not_safetensors", "key", "__metadata__")]
    [InlineData("""{"__metadata__":{"a":"\ud800"}}""", "not_safetensors")]
    [InlineData("""{"w\udc00":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "not_safetensors")]
    [InlineData("""{"w":{"dtype":"F32\ud800","shape":[2],"data_offsets":[0,8]}}""", "not_safetensors")]
    [InlineData("""{"w":{"dtype":"F32","shape":{"a":1},"data_offsets":[0,8]}}""", "not_safetensors", "key", "w")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":["0",8]}}""", "not_safetensors", "key", "w")]
    public void Hostile_headers_are_refused(string header, string code, string? parameter = null, object? value = null) =>
        FaultAssert.Is(Fault(Build(header)), code, parameter is null ? [] : [(parameter, value)]);

    [Fact]
    public void Text_that_is_no_UTF_8_is_refused_and_never_replaced()
    {
        var header = """{"__metadata__":{"a":"?"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""";
        var file = Build(header);
        file[file.AsSpan().IndexOf((byte)'?')] = 0xE9;
        FaultAssert.Is(Fault(file), "not_safetensors");
    }

    [Fact]
    public void A_tensor_of_more_dimensions_than_any_has_is_refused()
    {
        var shape = string.Join(',', Enumerable.Repeat(1, 100_000));
        FaultAssert.Is(Fault(Build($$$"""{"w":{"dtype":"U8","shape":[{{{shape}}}],"data_offsets":[0,1]}}""")), "too_many_dimensions", ("dimensions", 100_000), ("most", 64));
    }

    [Fact]
    public void Tensors_without_values_and_of_the_most_dimensions_are_read()
    {
        var ones = string.Join(',', Enumerable.Repeat(1, 64));
        var path = folder.Write("edges", Build($$$"""{"most":{"dtype":"U8","shape":[{{{ones}}}],"data_offsets":[0,1]},"none":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},"scalar":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}"""));
        using var file = SafetensorsFile.Open(path);
        Assert.Equal([0L, 1L, 4L], file.Entries.Values.Select(entry => entry.ByteLength).Order());
        using var scope = new TensorScope();
        Assert.Equal([0L, 3L], file.Read("none").Shape);
    }

    [Fact]
    public void A_size_that_does_not_fit_its_bytes_is_refused_with_both() =>
        FaultAssert.Is(Fault(Build("""{"w":{"dtype":"F32","shape":[3],"data_offsets":[8,16]}}""")), "size_differs", ("key", "w"), ("bytes", 8L));

    // A file of which only the beginning is left over is cut off, however little follows the length of its header.
    [Fact]
    public void A_file_cut_off_in_its_header_says_how_long_it_would_be()
    {
        var file = new byte[9];
        BinaryPrimitives.WriteInt64LittleEndian(file, 100);
        file[8] = (byte)'{';
        FaultAssert.Is(Fault(file), "file_cut_off", ("needed", 108L), ("missing", 99L));
    }

    [Fact]
    public void A_refused_file_is_closed()
    {
        for (var i = 0; i < 3; i++)
            _ = Fault(Build("{"));
        Assert.DoesNotContain(File.ReadLines("/proc/self/maps"), line => line.Contains(folder.Path, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(1UL << 63)]
    [InlineData(1UL << 40)]
    [InlineData(57UL)]
    public void A_header_longer_than_the_file_is_refused(ulong claimed)
    {
        var file = new byte[64];
        BinaryPrimitives.WriteUInt64LittleEndian(file, claimed);
        FaultAssert.Is(Fault(file), "header_too_long", ("claimed", claimed), ("length", 64L));
    }

    [Fact]
    public void Files_that_are_not_there_or_empty_are_named()
    {
        FaultAssert.Is(Fault([]), "file_too_short", ("length", 0L));
        FaultAssert.Is(Fault(new byte[7]), "file_too_short", ("length", 7L));
        foreach (var (file, code) in new[] { (folder.File("none"), "file_missing"), (Path.Combine(folder.Path, "no", "none"), "file_missing"), (folder.Path, "file_is_folder") })
            FaultAssert.Is(Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(file)), code, ("file", file));
    }

    [Fact]
    public void A_file_cut_off_anywhere_is_refused()
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(folder.File("w"), [("a", Tensor.Ones([3])), ("b", Tensor.Ones([5]))]);
        var whole = File.ReadAllBytes(folder.File("w"));
        for (var length = 0; length < whole.Length; length += 5)
            _ = Fault(whole[..length]);
    }

    [Fact]
    public void A_file_cut_off_says_how_much_is_missing()
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(folder.File("w"), [("a", Tensor.Ones([3])), ("b", Tensor.Ones([5]))]);
        var whole = File.ReadAllBytes(folder.File("w"));
        FaultAssert.Is(Fault(whole[..^7]), "file_cut_off", ("length", whole.Length - 7L), ("needed", (long)whole.Length), ("missing", 7L));
        FaultAssert.Is(Fault(whole[..20]), "file_cut_off", ("length", 20L));
    }

    [Fact]
    public void Large_weights_become_shards_that_are_read_as_one()
    {
        using var scope = new TensorScope();
        var tensors = Enumerable.Range(0, 5).Select(i => (Key: $"w{i}", Value: Tensor.Full([4], i))).ToList();
        var next = 0;
        var names = ShardedWriter.Write(folder.Path, "model", [.. tensors.Select(t => new TensorDeclaration(t.Key, t.Value.Type, t.Value.Shape))], 40,
            (file, entry) => SafetensorsWriter.WriteData(file, entry, tensors[next++].Value));
        Assert.Equal(["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors", "model.safetensors.index.json"], names);
        using var source = WeightsFile.Open(folder.Path);
        Assert.Equal(tensors.Select(t => t.Key), source.Keys.Order(StringComparer.Ordinal));
        Assert.All(tensors, t => Assert.Equal(t.Value.ToArray<float>(), source.Read(t.Key).ToArray<float>()));
    }

    [Theory]
    [InlineData(ElementType.UInt8)]
    [InlineData(ElementType.Int8)]
    [InlineData(ElementType.Int16)]
    [InlineData(ElementType.Int32)]
    [InlineData(ElementType.Int64)]
    [InlineData(ElementType.Float16)]
    [InlineData(ElementType.Float32)]
    [InlineData(ElementType.Float64)]
    [InlineData(ElementType.Bool)]
    [InlineData(ElementType.BFloat16)]
    public void What_is_written_is_read_again(ElementType type)
    {
        using var scope = new TensorScope();
        var x = Tensor.From<float>([0, 1, 2, 3, 4, 5], 2, 3).To(type);
        var y = x.Transpose(0, 1);
        var metadata = new Dictionary<string, string> { ["format"] = "pt", ["ü"] = "\"\n" };
        SafetensorsWriter.Write(folder.File("w"), [("x", x), ("transposed", y), ("scalar", x.Select(0, 0).Select(0, 1)), ("empty", Tensor.Empty([0, 3], type))], metadata);
        using var file = SafetensorsFile.Open(folder.File("w"));
        Assert.Equal(metadata, file.Metadata);
        Assert.Equal(["x", "transposed", "scalar", "empty"], file.Entries.Keys);
        Assert.Equal(x.RawBytes(), file.Bytes("x"));
        foreach (var (key, expected) in new[] { ("x", x), ("transposed", y) })
        {
            var read = file.Read(key);
            Assert.Equal(type, read.Type);
            Assert.Equal(expected.Shape, read.Shape);
            Assert.Equal(expected.To(ElementType.Float32).ToArray<float>(), read.To(ElementType.Float32).ToArray<float>());
        }

        Assert.Equal([], file.Read("scalar").Shape);
        Assert.Equal(1, file.Read("scalar").Item());
        Assert.Equal([0, 3], file.Read("empty").Shape);
    }

    [Fact]
    public unsafe void A_tensor_lies_over_the_map_and_outlives_the_file()
    {
        var live = Tensor.LiveCount;
        using (var scope = new TensorScope())
        {
            SafetensorsWriter.Write(folder.File("w"), [("first", Tensor.Ones([3], ElementType.UInt8)), ("w", Tensor.From<float>([1, 2, 3]))]);
            SafetensorsWriter.Write(folder.File("aligned"), [("w", Tensor.From<float>([1, 2, 3]))]);
            Tensor w, odd;
            using (var file = SafetensorsFile.Open(folder.File("aligned")))
            using (var other = SafetensorsFile.Open(folder.File("w")))
            {
                w = file.Read("w");
                odd = other.Read("w");
                fixed (float* address = w.Data<float>())
                    Assert.Equal(file.Address("w"), (nint)address);
                fixed (float* address = odd.Data<float>())
                    Assert.NotEqual(other.Address("w"), (nint)address);
            }

            Assert.Equal([1f, 2f, 3f], w.ToArray<float>());
            Assert.Equal([1f, 2f, 3f], odd.ToArray<float>());
        }

        Assert.Equal(live, Tensor.LiveCount);
    }

    [Fact]
    public void Writing_into_a_tensor_does_not_change_the_file()
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(folder.File("w"), [("w", Tensor.From<float>([1, 2, 3]))]);
        var before = File.ReadAllBytes(folder.File("w"));
        using (var file = SafetensorsFile.Open(folder.File("w")))
        {
            var w = file.Read("w");
            w.Fill(9);
            Assert.Equal([9f, 9f, 9f], w.ToArray<float>());
        }

        Assert.Equal(before, File.ReadAllBytes(folder.File("w")));
    }

    [Fact]
    public void A_link_to_a_file_is_read_like_the_file()
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(folder.File("w"), [("w", Tensor.From<float>([1, 2, 3]))]);
        File.CreateSymbolicLink(folder.File("link"), "w");
        using var source = SafetensorsFile.Open(folder.File("link"));
        Assert.Equal([1f, 2f, 3f], source.Read("w").ToArray<float>());
    }

    [Fact]
    public void A_disposed_file_gives_no_more_tensors()
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(folder.File("w"), [("w", Tensor.Ones([3]))]);
        var file = SafetensorsFile.Open(folder.File("w"));
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Read("w"));
        Assert.Throws<ObjectDisposedException>(() => file.Address("w"));
    }

    [Fact]
    public void A_file_may_be_replaced_while_tensors_lie_over_it()
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(folder.File("w"), [("w", Tensor.From<float>([1, 2]))]);
        using var file = SafetensorsFile.Open(folder.File("w"));
        var w = file.Read("w");
        SafetensorsWriter.Write(folder.File("w"), [("w", w * 2)]);
        Assert.Equal([1f, 2f], w.ToArray<float>());
        using var source = SafetensorsFile.Open(folder.File("w"));
        Assert.Equal([2f, 4f], source.Read("w").ToArray<float>());
    }

    [Fact]
    public void A_writer_that_fails_leaves_the_target_and_no_rest()
    {
        using var scope = new TensorScope();
        var good = Tensor.Ones([3]);
        SafetensorsWriter.Write(folder.File("w"), [("w", good)]);
        var before = File.ReadAllBytes(folder.File("w"));
        Assert.Throws<ArgumentException>(() => SafetensorsWriter.Write(folder.File("w"), [("a", good), ("a", good)]));
        Assert.Throws<ArgumentException>(() => SafetensorsWriter.Write(folder.File("w"), [("__metadata__", good)]));
        Assert.Throws<ArgumentOutOfRangeException>(() =>
            SafetensorsWriter.Write(folder.File("w"), [("a", good), ("b", Tensor.Ones([2, 2]).ViewAsComplex())]));
        var gone = Tensor.Ones([3]);
        gone.Dispose();
        Assert.Throws<ObjectDisposedException>(() => SafetensorsWriter.Write(folder.File("w"), [("a", good), ("b", gone)]));
        Assert.Throws<DirectoryNotFoundException>(() => SafetensorsWriter.Write(System.IO.Path.Combine(folder.Path, "no", "w"), [("a", good)]));
        Assert.Equal(before, File.ReadAllBytes(folder.File("w")));
        Assert.Equal([folder.File("w")], Directory.GetFiles(folder.Path));
    }

    private static byte[] Build(string header)
    {
        var json = Encoding.UTF8.GetBytes(header);
        var file = new byte[8 + json.Length + 32];
        BinaryPrimitives.WriteInt64LittleEndian(file, json.Length);
        json.CopyTo(file, 8);
        return file;
    }

    private CheckpointException Fault(byte[] file)
    {
        var path = folder.Write("faulty", file);
        var error = Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(path));
        FaultAssert.Is(error, error.Code, ("file", path));
        return error;
    }
}
