using System.IO.Compression;
using System.Runtime.InteropServices;
using PyramidFlow.Testing;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Torch.Tests.Checkpoints;

public sealed class TorchArchiveTests : IDisposable
{
    private static readonly byte[] SixFloats = MemoryMarshal.AsBytes<float>([1, 2, 3, 4, 5, 6]).ToArray();

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Reads_a_state_dict_without_copying_it(bool zip64)
    {
        var live = Tensor.LiveCount;
        var writer = new ArchiveWriter { Zip64 = zip64 }.Add("archive/data.pkl", Weights(6, 0, [2, 3], [3, 1])).Add("archive/data/0", SixFloats);
        using (var source = TorchArchive.Open(folder.Write("a.bin", writer.End())))
        {
            Assert.Equal(["w"], source.Keys);
            var (shape, type) = source.Describe("w");
            Assert.Equal([2, 3], shape);
            Assert.Equal(ElementType.Float32, type);
            using var w = source.Read("w");
            using var again = source.Read("w");
            Assert.Equal([1f, 2f, 3f, 4f, 5f, 6f], w.ToArray<float>());
            w.Fill(9);
            Assert.Equal(9f, again.ToArray<float>()[0]);
        }

        Assert.Equal(live, Tensor.LiveCount);
        using var reopened = TorchArchive.Open(folder.File("a.bin"));
        using var unchanged = reopened.Read("w");
        Assert.Equal(1f, unchanged.ToArray<float>()[0]);
    }

    // Written by Python's own pickler (3.11) in the structure torch.save hands it: a training checkpoint with a state dict
    // (a parameter, a strided and a tied tensor, _metadata), numbers of all sizes, tuples, bytes and optimizer state.
    [Theory]
    [InlineData(
        "gAJ9cQAoWAUAAABlcG9jaHEBTSwBWAIAAABscnECRz8aNuLrHEMtWAQAAABzZWVkcQOKCf//////////AFgFAAAAYmV0YXNxBChHP+zMzMzMzM"
            + "1HP+/3ztkWhytOiEqQ7v7/igYAAAAAAAF0cQVYBQAAAG1vZGVscQZjY29sbGVjdGlvbnMKT3JkZXJlZERpY3QKcQcpUnEIKFgLAAAAcHJvai53"
            + "ZWlnaHRxCWN0b3JjaC5fdXRpbHMKX3JlYnVpbGRfcGFyYW1ldGVyCnEKY3RvcmNoLl91dGlscwpfcmVidWlsZF90ZW5zb3JfdjIKcQsoKFgHAA"
            + "AAc3RvcmFnZXEMY3RvcmNoCkZsb2F0U3RvcmFnZQpxDVgBAAAAMHEOWAYAAABjdWRhOjBxD0sGdHEQUUsASwJLA4ZxEUsDSwGGcRKJaAcpUnET"
            + "dHEUUnEViGgHKVJxFodxF1JxGFgJAAAAcHJvai5iaWFzcRloCygoaAxoDWgOaA9LBnRxGlFLAUsChXEbSwOFcRyJaAcpUnEddHEeUnEfWAQAAA"
            + "B0aWVkcSBoH3V9cSFYCQAAAF9tZXRhZGF0YXEiaAcpUnEjKFgAAAAAcSR9cSVYBwAAAHZlcnNpb25xJksBc1gEAAAAcHJvanEnfXEoaCZLAnN1"
            + "c2JYBQAAAG5hbWVzcSldcSooWAEAAABhcStYAQAAAGJxLF1xLWVYCQAAAG9wdGltaXplcnEufXEvWAUAAABzdGF0ZXEwfXExSwB9cTJYBwAAAG"
            + "V4cF9hdmdxM2gLKChoDGgNaA5oD0sGdHE0UUsASwaFcTVLAYVxNoloBylScTd0cThScTlzc3N1Lg==")]
    [InlineData(
        "gASVDgIAAAAAAAB9lCiMBWVwb2NolE0sAYwCbHKURz8aNuLrHEMtjARzZWVklIoJ//////////8AjANyYXeUQwNhYmOUjAViZXRhc5QoRz/szM"
            + "zMzMzNRz/v987ZFocrTohKkO7+/4oGAAAAAAABdJSMBW1vZGVslIwLY29sbGVjdGlvbnOUjAtPcmRlcmVkRGljdJSTlClSlCiMC3Byb2oud2Vp"
            + "Z2h0lIwMdG9yY2guX3V0aWxzlIwSX3JlYnVpbGRfcGFyYW1ldGVylJOUaA6MEl9yZWJ1aWxkX3RlbnNvcl92MpSTlCgojAdzdG9yYWdllIwFdG"
            + "9yY2iUjAxGbG9hdFN0b3JhZ2WUk5SMATCUjAZjdWRhOjCUSwZ0lFFLAEsCSwOGlEsDSwGGlIloCylSlHSUUpSIaAspUpSHlFKUjAlwcm9qLmJp"
            + "YXOUaBIoKGgTaBZoF2gYSwZ0lFFLAUsChZRLA4WUiWgLKVKUdJRSlIwEdGllZJRoKHV9lIwJX21ldGFkYXRhlGgLKVKUKIwAlH2UjAd2ZXJzaW"
            + "9ulEsBc4wEcHJvapR9lGgvSwJzdXNijAVuYW1lc5RdlCiMAWGUjAFilF2UZYwJb3B0aW1pemVylH2UjAVzdGF0ZZR9lEsAfZSMB2V4cF9hdmeU"
            + "aBIoKGgTaBZoF2gYSwZ0lFFLAEsGhZRLAYWUiWgLKVKUdJRSlHNzc3Uu")]
    public void Reads_what_Python_pickles(string pickle)
    {
        using var scope = new TensorScope();
        using var source = Open(Convert.FromBase64String(pickle), SixFloats);
        Assert.Equal(["model.proj.weight", "model.proj.bias", "model.tied", "optimizer.state.0.exp_avg"], source.Keys);
        Assert.Equal([2, 3], source.Describe("model.proj.weight").Shape);
        Assert.Equal([2f, 5f], source.Read("model.tied").ToArray<float>());
        Assert.Equal(21, source.Read("optimizer.state.0.exp_avg").Sum().Item());
    }

    [Fact]
    public void A_tensor_outlives_the_archive()
    {
        Tensor w;
        using (var source = Open(Weights(6, 0, [6], [1]), SixFloats))
            w = source.Read("w");
        using (w)
            Assert.Equal([1f, 2f, 3f, 4f, 5f, 6f], w.ToArray<float>());
    }

    [Theory]
    [InlineData("torch.FloatStorage", ElementType.Float32)]
    [InlineData("torch.DoubleStorage", ElementType.Float64)]
    [InlineData("torch.HalfStorage", ElementType.Float16)]
    [InlineData("torch.BFloat16Storage", ElementType.BFloat16)]
    [InlineData("torch.LongStorage", ElementType.Int64)]
    [InlineData("torch.IntStorage", ElementType.Int32)]
    [InlineData("torch.ShortStorage", ElementType.Int16)]
    [InlineData("torch.CharStorage", ElementType.Int8)]
    [InlineData("torch.ByteStorage", ElementType.UInt8)]
    [InlineData("torch.BoolStorage", ElementType.Bool)]
    public void Reads_every_element_type(string storage, ElementType type)
    {
        using var scope = new TensorScope();
        var expected = Tensor.From<float>([1, 0, 1]).To(type);
        var pickle = new PickleWriter().StateDict(d => d.Text("w").Tensor(storage, "0", 3, 0, [3], [1])).End();
        using var source = Open(pickle, expected.RawBytes().ToArray());
        var read = source.Read("w");
        Assert.Equal(type, read.Type);
        Assert.Equal([1f, 0f, 1f], read.To(ElementType.Float32).ToArray<float>());
    }

    [Fact]
    public void Reads_transposed_sliced_scalar_and_empty_tensors()
    {
        using var scope = new TensorScope();
        var pickle = new PickleWriter().Op("}(")
            .Text("transposed").Tensor("torch.FloatStorage", "0", 6, 0, [3, 2], [1, 3])
            .Text("slice").Tensor("torch.FloatStorage", "0", 6, 1, [2], [3])
            .Text("scalar").Tensor("torch.FloatStorage", "0", 6, 5, [], [])
            .Text("empty").Tensor("torch.FloatStorage", "0", 6, 6, [0, 4], [4, 1])
            .Text("column").Tensor("torch.FloatStorage", "0", 6, 2, [1, 2], [99, 1])
            .Op("u").End();
        using var source = Open(pickle, SixFloats);
        Assert.Equal([1f, 4f, 2f, 5f, 3f, 6f], source.Read("transposed").ToArray<float>());
        Assert.True(source.Read("transposed").IsContiguous);
        Assert.Equal([2f, 5f], source.Read("slice").ToArray<float>());
        Assert.Equal(6, source.Read("scalar").Item());
        Assert.Equal([0, 4], source.Read("empty").Shape);
        Assert.Equal([3f, 4f], source.Read("column").ToArray<float>());
    }

    [Fact]
    public void Flattens_containers_and_leaves_out_what_is_not_a_tensor()
    {
        var pickle = new PickleWriter().Op("}(")
            .Text("epoch").Number(7).Text("lr").Op("G").Raw(0x3f, 0xf0, 0, 0, 0, 0, 0, 0)
            .Text("none").Op("N").Text("done").Op("\x88").Text("seed").Raw(0x8a, 9, 255, 255, 255, 255, 255, 255, 255, 255, 0)
            .Text("name").Text("ümlaut").Text("type").Global("torch", "float32")
            .Text("size").Global("torch", "Size").Tuple(2, 3).Op("\x85R")
            .Text("state_dict").StateDict(d => Weight(d.Text("w")))
            .Text("states").Op("](");
        Weight(Weight(pickle)).Op("e");
        pickle.Text("optimizer").Op("}").Number(3).Op("}").Text("mean");
        Weight(pickle).Op("ss");
        pickle.Text("parameter").Global("torch._utils", "_rebuild_parameter").Op("(");
        Weight(pickle).Op("\x88").Global("collections", "OrderedDict").Op(")RtRu");
        using var source = Open(pickle.End(), SixFloats);
        Assert.Equal(["optimizer.3.mean", "parameter", "state_dict.w", "states.0", "states.1"], source.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(["w"], source.Under("state_dict.").Keys);
    }

    // As the released VAE trainer writes it: state dicts beside the arguments of the run, an object of attributes.
    [Fact]
    public void Attributes_of_a_training_run_are_left_out()
    {
        var pickle = new PickleWriter().Op("}(").Text("model").StateDict(d => Weight(d.Text("vae.w")))
            .Text("args").Global("argparse", "Namespace").Op(")\x81}(").Text("lr").Number(3).Text("betas").Tuple(1, 2).Text("again");
        Weight(pickle).Op("ubu");
        using var source = Open(pickle.End(), SixFloats);
        Assert.Equal(["model.vae.w"], source.Keys);
    }

    [Fact]
    public void Reads_protocol_4_and_untyped_storages()
    {
        var pickle = new PickleWriter().Op("\x80\x04\x95\0\0\0\0\0\0\0\0}\x94\x8c\x01w\x94")
            .Op("\x8c\x0c").Op("torch._utils").Op("\x94\x8c\x12").Op("_rebuild_tensor_v3").Op("\x94\x93(")
            .Storage("torch.storage.UntypedStorage", "0", 24).Number(1).Tuple(2).Tuple(1).Op("\x89N").Global("torch", "float32").Op("NtRs").End();
        using var source = Open(pickle, SixFloats);
        using var w = source.Read("w");
        Assert.Equal([2f, 3f], w.ToArray<float>());
    }

    [Fact]
    public void A_storage_that_is_not_aligned_is_copied()
    {
        foreach (var root in new[] { "a", "ab", "abc", "abcd" })
        {
            using (var zip = ZipFile.Open(folder.File(root + ".pt"), ZipArchiveMode.Create))
            {
                foreach (var (name, data) in new[] { ("data.pkl", Weights(6, 0, [6], [1])), ("data/0", SixFloats) })
                {
                    using var entry = zip.CreateEntry($"{root}/{name}", CompressionLevel.NoCompression).Open();
                    entry.Write(data);
                }
            }

            using var source = TorchArchive.Open(folder.File(root + ".pt"));
            using var w = source.Read("w");
            Assert.Equal([1f, 2f, 3f, 4f, 5f, 6f], w.ToArray<float>());
        }
    }

    [Theory]
    [InlineData("os", "system")]
    [InlineData("posix", "system")]
    [InlineData("builtins", "eval")]
    [InlineData("__builtin__", "exec")]
    [InlineData("torch._utils", "_rebuild_sparse_tensor")]
    [InlineData("torch", "load")]
    [InlineData("collections", "OrderedDict.__init__")]
    public void A_name_that_tensors_do_not_need_is_refused_and_named(string module, string name)
    {
        var pickle = new PickleWriter().Global(module, name).Text("touch /tmp/hacked").Op("\x85R").End();
        Assert.EndsWith($"asks to run {module}.{name}: it is not a plain checkpoint, refused; "
            + "save only the weights, with torch.save(model.state_dict(), ...) or as safetensors", Fault(pickle));
        pickle = new PickleWriter().Text(module).Text(name).Op("\x93").Text("x").Op("\x85R").End();
        Assert.Contains($"asks to run {module}.{name}:", Fault(pickle), StringComparison.Ordinal);
    }

    [Fact]
    public void A_refused_name_cannot_write_to_the_terminal()
    {
        var message = Fault(new PickleWriter().Global("os\x1b[2J", "system\r").End());
        Assert.Contains("run os?[2J.system?:", message, StringComparison.Ordinal);
    }

    public static TheoryData<string, byte[]> Hostile => new()
    {
        { "instruction 0x69", new PickleWriter().Op("(ios\nsystem\n").End() },
        { "instruction 0x6f", new PickleWriter().Op("(").Global("collections", "OrderedDict").Op("o").End() },
        { "instruction 0x81", new PickleWriter().Global("argparse", "Namespace").Op("N\x85\x81").End() },
        { "instruction 0x81", new PickleWriter().Global("collections", "OrderedDict").Op(")\x81").End() },
        { "instruction 0x82", new PickleWriter().Op("\x82\x01").End() },
        { "instruction 0x50", new PickleWriter().Op("Pid\n").End() },
        { "not a storage of tensors", new PickleWriter().Text("http://example.org").Op("Q").End() },
        { "is damaged", new PickleWriter().Raw(0x8b, 255, 255, 255, 127).End() },
        { "is damaged", new PickleWriter().Op("X").Int32(-1).End() },
        { "is damaged", new PickleWriter().Op("cos").End() },
        { "is damaged", new PickleWriter().Raw([(byte)'c', .. Enumerable.Repeat((byte)'a', 400), (byte)'\n']).End() },
        { "is damaged", new PickleWriter().Op("h\x07").End() },
        { "is damaged", new PickleWriter().Op("q\x07").End() },
        { "is damaged", new PickleWriter().Op("0").End() },
        { "is damaged", new PickleWriter().Op("t").End() },
        { "is damaged", new PickleWriter().Op("K\x01\x86").End() },
        { "is damaged", new PickleWriter().Op("(K\x01\x86").End() },
        { "is damaged", new PickleWriter().Op("]K\x01K\x02s").End() },
        { "is damaged", new PickleWriter().Op("}(K\x01u").End() },
        { "is damaged", new PickleWriter().Op("}K\x0001a").End() },
        { "is damaged", new PickleWriter().Op("]K\x01R").End() },
        { "is damaged", new PickleWriter().Text("f").Op(")R").End() },
        { "is damaged", new PickleWriter().Op("N}b").End() },
        { "is damaged", new PickleWriter().Global("torch._utils", "_rebuild_parameter").Op("(NNNtR").End() },
        { "is damaged", new PickleWriter().Op("X").Int32(2).Raw(0xff, 0xfe).End() },
        { "is damaged", new PickleWriter().End()[..2] },
        { "is damaged", [] },
        { "no named tensors", new PickleWriter().Op("}").End() },
        { "no named tensors", new PickleWriter().Tensor("torch.FloatStorage", "0", 6, 0, [6], [1]).End() },
        { "holds the key a.b twice", Weight(Weight(new PickleWriter().Op("}(").Text("a.b")).Text("a").Op("}").Text("b")).Op("su").End() },
        { "nested too deeply", Nested(100_000) },
        { "contain themselves", new PickleWriter().Op("}q\0").Text("a").Op("h\0s").End() },
        { "contain themselves", new PickleWriter().Op("]q\0(h\0h\0h\0e").End() },
        { "too large", Laughs() },
        { "more than the 16777216 allowed", new byte[(16 << 20) + 1] },
        { "instructions", [.. Enumerable.Repeat((byte)'N', (4 << 20) + 1)] },
    };

    [Theory]
    [MemberData(nameof(Hostile), DisableDiscoveryEnumeration = true)]
    public void Hostile_pickles_are_refused(string message, byte[] pickle) => Assert.Contains(message, Fault(pickle), StringComparison.Ordinal);

    [Theory]
    [InlineData(6, -1, 2, 1, "negative")]
    [InlineData(6, 0, -2, 1, "negative")]
    [InlineData(6, 0, 2, -1, "negative")]
    [InlineData(6, 0, 7, 1, "does not lie in its storage of 6 elements")]
    [InlineData(6, 5, 2, 1, "does not lie in its storage")]
    [InlineData(6, 0, 2, 6, "does not lie in its storage")]
    [InlineData(6, 0, 7, 0, "does not lie in its storage")]
    [InlineData(6, long.MaxValue, 1, 1, "no memory holds")]
    [InlineData(6, 0, 2, long.MaxValue, "no memory holds")]
    [InlineData(7, 0, 7, 1, "claims 7 elements and has 24 bytes")]
    [InlineData(-1, 0, 0, 1, "claims -1 elements")]
    [InlineData(long.MaxValue, 0, 1, 1, "claims 9223372036854775807 elements")]
    public void A_tensor_must_lie_in_its_storage(long count, long offset, long size, long stride, string message) =>
        Assert.Contains(message, Fault(Weights(count, offset, [size], [stride])), StringComparison.Ordinal);

    [Fact]
    public void Shapes_must_be_numbers_that_memory_holds()
    {
        Assert.Contains("no memory holds", Fault(Weights(6, 0, [1L << 40, 1L << 40, 0], [0, 0, 0])), StringComparison.Ordinal);
        Assert.Contains("is damaged", Fault(Weights(6, 0, [2, 3], [1])), StringComparison.Ordinal);
        Assert.Contains("is damaged", Fault(Weights(6, 0, new long[65], new long[65])), StringComparison.Ordinal);
    }

    [Fact]
    public void A_storage_name_cannot_reach_another_file()
    {
        folder.Write("secret", SixFloats);
        var pickle = new PickleWriter().Op("}").Text("w").Tensor("torch.FloatStorage", "../../secret", 6, 0, [6], [1]).Op("s").End();
        Assert.Contains("which is not in the file", Fault(pickle), StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_cut_off_anywhere_is_refused()
    {
        var whole = ArchiveWriter.Archive(Weights(6, 0, [6], [1]), SixFloats);
        for (var length = 0; length < whole.Length; length += 7)
        {
            var path = folder.Write("cut.bin", whole[..length]);
            var error = Assert.Throws<CheckpointException>(() => TorchArchive.Open(path));
            Assert.Contains(path, error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Any_byte_changed_gives_tensors_or_a_clear_error()
    {
        var flips = new byte[] { 0x01, 0x80, 0xff };
        foreach (var zip64 in new[] { false, true })
        {
            var whole = new ArchiveWriter { Zip64 = zip64 }.Add("a/data.pkl", Weights(6, 0, [2, 3], [3, 1])).Add("a/data/0", SixFloats).End();
            var directory = whole.AsSpan().IndexOf("PK\x01\x02"u8);
            for (var at = zip64 ? directory : 0; at < whole.Length; at++)
            {
                var changed = whole.ToArray();
                changed[at] ^= flips[at % flips.Length];
                OpenAndReadAll(folder.Write("changed.bin", changed));
            }
        }
    }

    [Fact]
    public void Zip_files_that_torch_does_not_write_are_refused()
    {
        Assert.Contains("archive/data.pkl is compressed", Refused(new ArchiveWriter { Method = 8 }), StringComparison.Ordinal);
        Assert.Contains("archive/data.pkl is encrypted", Refused(new ArchiveWriter { Flags = 1 }), StringComparison.Ordinal);
        Assert.Contains("may be cut off", Refused(new ArchiveWriter { ClaimedExtra = 1 << 20 }), StringComparison.Ordinal);
        Assert.Contains("holds the entry x twice", Refused(new ArchiveWriter().Add("x", []).Add("x", [])), StringComparison.Ordinal);
        Assert.Contains("holds 2 lists of tensors", Refused(new ArchiveWriter().Add("b/data.pkl", [])), StringComparison.Ordinal);
        Assert.Contains("big-endian", Refused(new ArchiveWriter().Add("archive/byteorder", "big"u8.ToArray())), StringComparison.Ordinal);
        string Refused(ArchiveWriter writer) => Message(writer.Add("archive/data.pkl", Weights(6, 0, [6], [1])).Add("archive/data/0", SixFloats).End());
    }

    [Fact]
    public void Other_files_are_refused_with_the_way_out()
    {
        Assert.Contains("format before 1.6", Message([0x80, 2, 0x8a, 10, 0x6c]), StringComparison.Ordinal);
        Assert.Contains("convert it to safetensors", Message([0x80, 2, 0x8a, 10, 0x6c]), StringComparison.Ordinal);
        Assert.Contains("does not begin like a zip file", Message("<html>404</html>"u8.ToArray()), StringComparison.Ordinal);
        Assert.Contains("run git lfs pull", Message("version https://git-lfs.github.com/spec/v1\n"u8.ToArray()), StringComparison.Ordinal);
        Assert.Contains("does not exist", Assert.Throws<CheckpointException>(() => TorchArchive.Open(folder.File("none.bin"))).Message, StringComparison.Ordinal);
        Assert.Contains("is a folder", Assert.Throws<CheckpointException>(() => TorchArchive.Open(folder.Path)).Message, StringComparison.Ordinal);
    }

    private static void OpenAndReadAll(string path)
    {
        using var scope = new TensorScope();
        try
        {
            using var source = TorchArchive.Open(path);
            foreach (var key in source.Keys)
                Assert.Equal(source.Describe(key).Shape, source.Read(key).Shape);
        }
        catch (CheckpointException error)
        {
            Assert.Contains(path, error.Message, StringComparison.Ordinal);
        }
    }

    private static PickleWriter Weight(PickleWriter pickle) => pickle.Tensor("torch.FloatStorage", "0", 6, 0, [6], [1]);

    private static byte[] Weights(long count, long offset, long[] shape, long[] strides) =>
        new PickleWriter().StateDict(d => d.Text("w").Tensor("torch.FloatStorage", "0", count, offset, shape, strides)).End();

    private static byte[] Nested(int depth)
    {
        var pickle = new PickleWriter();
        for (var i = 0; i < depth; i++)
            pickle.Op("](");
        for (var i = 0; i < depth; i++)
            pickle.Op("e");
        return pickle.End();
    }

    // Each list holds the one before ten times: 10^12 items in a hundred bytes.
    private static byte[] Laughs()
    {
        var pickle = new PickleWriter().Op("](");
        for (var i = 0; i < 10; i++)
            pickle.Number(i);
        pickle.Op("eq\0");
        for (byte level = 1; level < 12; level++)
        {
            pickle.Op("](");
            for (var i = 0; i < 10; i++)
                pickle.Raw((byte)'h', (byte)(level - 1));
            pickle.Op("eq").Raw(level);
        }

        return pickle.End();
    }

    private TorchArchive Open(byte[] pickle, params byte[][] storages) =>
        TorchArchive.Open(folder.Write("a.bin", ArchiveWriter.Archive(pickle, storages)));

    private string Fault(byte[] pickle) => Message(ArchiveWriter.Archive(pickle, SixFloats));

    private string Message(byte[] file)
    {
        var path = folder.Write("faulty.bin", file);
        var error = Assert.Throws<CheckpointException>(() => TorchArchive.Open(path));
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        return error.Message;
    }
}
