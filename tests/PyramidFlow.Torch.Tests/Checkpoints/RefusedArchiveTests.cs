using PyramidFlow.Testing;
using PyramidFlow.Torch.Checkpoints;
using static PyramidFlow.Torch.Tests.Checkpoints.PickleWriter;

namespace PyramidFlow.Torch.Tests.Checkpoints;

/// <summary>Archives that are hostile, damaged or of another kind end in a clear error, whatever they ask for.</summary>
public sealed class RefusedArchiveTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

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

    [Fact]
    public void What_a_file_says_of_itself_stays_one_line_of_an_error()
    {
        var message = Message(new ArchiveWriter { Method = 8 }.Add("a\nb\x1b[2J" + new string('c', 10_000), []).End());
        Assert.Contains("its entry a?b?[2Jccc", message, StringComparison.Ordinal);
        Assert.InRange(message.Length, 1, 4100);
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
        { "is damaged", new PickleWriter().Op("NNa").End() },
        { "is damaged", new PickleWriter().Op("N(Ne").End() },
        { "is damaged", new PickleWriter().Op("NNNs").End() },
        { "is damaged", new PickleWriter().Op("N(NNu").End() },
        { "is damaged", new PickleWriter().Op("NN\x93").End() },
        { "is damaged", new PickleWriter().Text("os").Op("N\x93").End() },
        { "is damaged", new PickleWriter().Global("torch", "Size").Op("NR").End() },
        { "is damaged", new PickleWriter().End()[..2] },
        { "is damaged", [] },
        { "no named tensors", new PickleWriter().Op("}").End() },
        { "no named tensors", new PickleWriter().Tensor("torch.FloatStorage", "0", 6, 0, [6], [1]).End() },
        { "holds the key a.b twice", new PickleWriter().Op("}(").Text("a.b").Weight().Text("a").Op("}").Text("b").Weight().Op("su").End() },
        { "nested too deeply", Nested(100_000) },
        { "contain themselves", new PickleWriter().Op("}q\0").Text("a").Op("h\0s").End() },
        { "contain themselves", new PickleWriter().Op("]q\0(h\0h\0h\0e").End() },
        { "too large", Laughs() },
        { "too large", UsedAgain("}q\0(", "NN", "u](", 0, "e") },
        { "too large", UsedAgain("]q\0(", "N", "e](", 0, "e") },
        { "too large", LongKeys() },
        { "too large", Tensors() },
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

    // A container of nameless items that is used as often as it has items: nothing but work, the square of the file's length.
    private static byte[] UsedAgain(string begin, string item, string then, byte memo, string end)
    {
        const int count = 25_000;
        var pickle = new PickleWriter().Op(begin).Op(string.Concat(Enumerable.Repeat(item, count))).Op(then);
        for (var i = 0; i < count; i++)
            pickle.Raw((byte)'h', memo);
        return pickle.Op(end).End();
    }

    // A tensor under 500 x 500 keys of 900 characters, in less than three thousand bytes.
    private static byte[] LongKeys()
    {
        var pickle = new PickleWriter().Weight().Op("q\0" + "0");
        for (byte level = 1; level <= 2; level++)
        {
            pickle.Op("](");
            for (var i = 0; i < 500; i++)
                pickle.Raw((byte)'h', (byte)(level - 1));
            pickle.Op("eq").Raw(level).Op("0");
        }

        return pickle.Op("}(").Text(new string('k', 900)).Raw((byte)'h', 2).Op("u").End();
    }

    // Tensors of 64 dimensions that are made again and again of one list of arguments.
    private static byte[] Tensors()
    {
        var pickle = new PickleWriter().Global("torch._utils", "_rebuild_tensor_v2").Op("q\0" + "0(")
            .Storage("torch.FloatStorage", "0", 6).Number(0).Tuple(new long[64]).Tuple(new long[64]).Op("tq\x01" + "0](");
        for (var i = 0; i < 400_000; i++)
            pickle.Op("h\0h\x01R");
        return pickle.Op("e").End();
    }

    private string Fault(byte[] pickle) => Message(ArchiveWriter.Archive(pickle, SixFloats));

    private string Message(byte[] file)
    {
        var path = folder.Write("faulty.bin", file);
        var error = Assert.Throws<CheckpointException>(() => TorchArchive.Open(path));
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        return error.Message;
    }
}
