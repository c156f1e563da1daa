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
        FaultAssert.Is(Fault(pickle), "runs_code", ("name", $"{module}.{name}"));
        pickle = new PickleWriter().Text(module).Text(name).Op("\x93").Text("x").Op("\x85R").End();
        FaultAssert.Is(Fault(pickle), "runs_code", ("name", $"{module}.{name}"));
    }

    [Fact]
    public void A_refused_name_cannot_write_to_the_terminal()
    {
        FaultAssert.Is(Fault(new PickleWriter().Global("os\x1b[2J", "system\r").End()), "runs_code", ("name", "os?[2J.system?"));
    }

    [Fact]
    public void What_a_file_says_of_itself_stays_one_line_of_an_error()
    {
        var name = "a\nb\x1b[2J" + new string('c', 10_000);
        var error = Opened(new ArchiveWriter { Method = 8 }.Add(name, []).End());
        FaultAssert.Is(error, "entry_compressed");
        Assert.Equal(name, error.Parameters["entry"]);
        Assert.Contains("a?b?[2Jccc", error.Message, StringComparison.Ordinal);
        Assert.InRange(error.Message.Length, 1, 4100);
    }

    public static TheoryData<string, string?, object?, byte[]> Hostile => new()
    {
        { "refused_instruction", "instruction", "0x69", new PickleWriter().Op("(ios\nsystem\n").End() },
        { "refused_instruction", "instruction", "0x6f", new PickleWriter().Op("(").Global("collections", "OrderedDict").Op("o").End() },
        { "refused_instruction", "instruction", "0x81", new PickleWriter().Global("argparse", "Namespace").Op("N\x85\x81").End() },
        { "refused_instruction", "instruction", "0x81", new PickleWriter().Global("collections", "OrderedDict").Op(")\x81").End() },
        { "refused_instruction", "instruction", "0x82", new PickleWriter().Op("\x82\x01").End() },
        { "refused_instruction", "instruction", "0x50", new PickleWriter().Op("Pid\n").End() },
        { "foreign_storage", null, null, new PickleWriter().Text("http://example.org").Op("Q").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Raw(0x8b, 255, 255, 255, 127).End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("X").Int32(-1).End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("cos").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Raw([(byte)'c', .. Enumerable.Repeat((byte)'a', 400), (byte)'\n']).End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("h\x07").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("q\x07").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("0").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("t").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("K\x01\x86").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("(K\x01\x86").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("]K\x01K\x02s").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("}(K\x01u").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("}K\x0001a").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("]K\x01R").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Text("f").Op(")R").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("N}b").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Global("torch._utils", "_rebuild_parameter").Op("(NNNtR").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("X").Int32(2).Raw(0xff, 0xfe).End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("NNa").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("N(Ne").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("NNNs").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("N(NNu").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Op("NN\x93").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Text("os").Op("N\x93").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().Global("torch", "Size").Op("NR").End() },
        { "tensor_list_damaged", null, null, new PickleWriter().End()[..2] },
        { "tensor_list_damaged", null, null, [] },
        { "no_named_tensors", null, null, new PickleWriter().Op("}").End() },
        { "no_named_tensors", null, null, new PickleWriter().Tensor("torch.FloatStorage", "0", 6, 0, [6], [1]).End() },
        { "key_twice", "key", "a.b", new PickleWriter().Op("}(").Text("a.b").Weight().Text("a").Op("}").Text("b").Weight().Op("su").End() },
        { "containers_too_large", null, null, Nested(100_000) },
        { "containers_too_large", null, null, new PickleWriter().Op("}q\0").Text("a").Op("h\0s").End() },
        { "containers_too_large", null, null, new PickleWriter().Op("]q\0(h\0h\0h\0e").End() },
        { "containers_too_large", null, null, Laughs() },
        { "containers_too_large", null, null, UsedAgain("}q\0(", "NN", "u](", 0, "e") },
        { "containers_too_large", null, null, UsedAgain("]q\0(", "N", "e](", 0, "e") },
        { "containers_too_large", null, null, LongKeys() },
        { "containers_too_large", null, null, Tensors() },
        { "tensor_list_too_long", "most", 16 << 20, new byte[(16 << 20) + 1] },
        { "too_many_instructions", "most", 4 << 20, [.. Enumerable.Repeat((byte)'N', (4 << 20) + 1)] },
    };

    [Theory]
    [MemberData(nameof(Hostile), DisableDiscoveryEnumeration = true)]
    public void Hostile_pickles_are_refused(string code, string? parameter, object? value, byte[] pickle) =>
        FaultAssert.Is(Fault(pickle), code, parameter is null ? [] : [(parameter, value)]);

    [Theory]
    [InlineData(6, -1, 2, 1, "negative_layout")]
    [InlineData(6, 0, -2, 1, "negative_layout")]
    [InlineData(6, 0, 2, -1, "negative_layout")]
    [InlineData(6, 0, 7, 1, "tensor_outside", "elements", 6L)]
    [InlineData(6, 5, 2, 1, "tensor_outside")]
    [InlineData(6, 0, 2, 6, "tensor_outside")]
    [InlineData(6, 0, 7, 0, "tensor_outside")]
    [InlineData(6, long.MaxValue, 1, 1, "tensor_too_large")]
    [InlineData(6, 0, 2, long.MaxValue, "tensor_too_large")]
    [InlineData(7, 0, 7, 1, "storage_too_short", "bytes", 24L)]
    [InlineData(-1, 0, 0, 1, "storage_too_short", "claimed", -1L)]
    [InlineData(long.MaxValue, 0, 1, 1, "storage_too_short", "claimed", long.MaxValue)]
    public void A_tensor_must_lie_in_its_storage(long count, long offset, long size, long stride, string code, string? parameter = null, object? value = null) =>
        FaultAssert.Is(Fault(Weights(count, offset, [size], [stride])), code, parameter is null ? [] : [(parameter, value)]);

    [Fact]
    public void Shapes_must_be_numbers_that_memory_holds()
    {
        FaultAssert.Is(Fault(Weights(6, 0, [1L << 40, 1L << 40, 0], [0, 0, 0])), "tensor_too_large");
        FaultAssert.Is(Fault(Weights(6, 0, [2, 3], [1])), "tensor_list_damaged");
        FaultAssert.Is(Fault(Weights(6, 0, new long[65], new long[65])), "tensor_list_damaged");
    }

    [Fact]
    public void A_storage_name_cannot_reach_another_file()
    {
        folder.Write("secret", SixFloats);
        var pickle = new PickleWriter().Op("}").Text("w").Tensor("torch.FloatStorage", "../../secret", 6, 0, [6], [1]).Op("s").End();
        FaultAssert.Is(Fault(pickle), "storage_missing", ("key", "w"), ("storage", "../../secret"));
    }

    [Fact]
    public void A_file_cut_off_anywhere_is_refused()
    {
        var whole = ArchiveWriter.Archive(Weights(6, 0, [6], [1]), SixFloats);
        for (var length = 0; length < whole.Length; length += 7)
        {
            var path = folder.Write("cut.bin", whole[..length]);
            var error = Assert.Throws<CheckpointException>(() => TorchArchive.Open(path));
            FaultAssert.Is(error, error.Code, ("file", path));
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
        FaultAssert.Is(Refused(new ArchiveWriter { Method = 8 }), "entry_compressed", ("entry", "archive/data.pkl"));
        FaultAssert.Is(Refused(new ArchiveWriter { Flags = 1 }), "entry_encrypted", ("entry", "archive/data.pkl"));
        FaultAssert.Is(Refused(new ArchiveWriter { ClaimedExtra = 1 << 20 }), "entry_cut_off");
        FaultAssert.Is(Refused(new ArchiveWriter().Add("x", []).Add("x", [])), "entry_twice", ("entry", "x"));
        FaultAssert.Is(Refused(new ArchiveWriter().Add("b/data.pkl", [])), "not_one_tensor_list", ("count", 2));
        FaultAssert.Is(Refused(new ArchiveWriter().Add("archive/byteorder", "big"u8.ToArray())), "big_endian");
        CheckpointException Refused(ArchiveWriter writer) => Opened(writer.Add("archive/data.pkl", Weights(6, 0, [6], [1])).Add("archive/data/0", SixFloats).End());
    }

    [Fact]
    public void Other_files_have_codes_of_their_own()
    {
        FaultAssert.Is(Opened([0x80, 2, 0x8a, 10, 0x6c]), "old_torch_format");
        FaultAssert.Is(Opened("<html>404</html>"u8.ToArray()), "not_a_torch_file");
        FaultAssert.Is(Opened("version https://git-lfs.github.com/spec/v1\n"u8.ToArray()), "lfs_pointer");
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => TorchArchive.Open(folder.File("none.bin"))), "file_missing", ("file", folder.File("none.bin")));
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => TorchArchive.Open(folder.Path)), "file_is_folder", ("file", folder.Path));
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
            FaultAssert.Is(error, error.Code, ("file", path));
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

    private CheckpointException Fault(byte[] pickle) => Opened(ArchiveWriter.Archive(pickle, SixFloats));

    private CheckpointException Opened(byte[] file)
    {
        var path = folder.Write("faulty.bin", file);
        var error = Assert.Throws<CheckpointException>(() => TorchArchive.Open(path));
        FaultAssert.Is(error, error.Code, ("file", path));
        return error;
    }
}
