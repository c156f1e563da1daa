using System.IO.Compression;
using PyramidFlow.Testing;
using PyramidFlow.Torch.Checkpoints;
using static PyramidFlow.Torch.Tests.Checkpoints.PickleWriter;

namespace PyramidFlow.Torch.Tests.Checkpoints;

public sealed class TorchArchiveTests : IDisposable
{
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
            .Text("state_dict").StateDict(d => d.Text("w").Weight())
            .Text("states").Op("](").Weight().Weight().Op("e")
            .Text("optimizer").Op("}").Number(3).Op("}").Text("mean").Weight().Op("ss")
            .Text("parameter").Global("torch._utils", "_rebuild_parameter").Op("(").Weight().Op("\x88").Global("collections", "OrderedDict").Op(")RtRu");
        using var source = Open(pickle.End(), SixFloats);
        Assert.Equal(["optimizer.3.mean", "parameter", "state_dict.w", "states.0", "states.1"], source.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(["w"], source.WithPrefix("state_dict.").Keys);
    }

    // As the released VAE trainer writes it: state dicts beside the arguments of the run, an object of attributes.
    [Fact]
    public void Attributes_of_a_training_run_are_left_out()
    {
        var pickle = new PickleWriter().Op("}(").Text("model").StateDict(d => d.Text("vae.w").Weight())
            .Text("args").Global("argparse", "Namespace").Op(")\x81}(").Text("lr").Number(3).Text("betas").Tuple(1, 2).Text("again").Weight().Op("ubu");
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

    private TorchArchive Open(byte[] pickle, params byte[][] storages) =>
        TorchArchive.Open(folder.Write("a.bin", ArchiveWriter.Archive(pickle, storages)));
}
