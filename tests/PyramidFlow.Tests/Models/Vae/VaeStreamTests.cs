using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Vae;

public sealed class VaeStreamTests
{
    private const double Tolerance = 1e-5;

    [Theory]
    [InlineData(1, 1, 1, 1)]
    [InlineData(2, 1, 1)]
    [InlineData(1, 3)]
    public void Decoding_piece_by_piece_equals_decoding_whole(params int[] pieces)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = SmallVae.Create();
        var z = SmallVae.Random(1, 4, 4, 2, 3);
        using var stream = vae.DecodeStream();
        GoldenTensors.AssertClose(vae.Decode(z), Tensor.Cat(Push(stream, z, pieces), 2), Tolerance, Tolerance, "video");
    }

    [Theory]
    [InlineData(1, 8, 8)]
    [InlineData(9, 8)]
    [InlineData(1, 16)]
    public void Encoding_piece_by_piece_equals_encoding_whole(params int[] pieces)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = SmallVae.Create();
        var x = SmallVae.Random(1, 3, 17, 16, 24);
        using var stream = vae.EncodeStream();
        GoldenTensors.AssertClose(vae.Encode(x).Moments, Tensor.Cat(Push(stream, x, pieces), 2), Tolerance, Tolerance, "moments");
    }

    [Fact]
    public void Tiles_can_be_streamed_too()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = SmallVae.Create();
        var tiles = new TileOptions(Size: 16);
        var z = SmallVae.Random(1, 4, 3, 3, 4);
        using var stream = vae.DecodeStream(tiles);
        GoldenTensors.AssertClose(vae.Decode(z, tiles: tiles), Tensor.Cat(Push(stream, z, [1, 2]), 2), Tolerance, Tolerance, "video");
    }

    [Theory]
    [InlineData(ElementType.Float32, 7, 9, 0.25, 24)]
    [InlineData(ElementType.BFloat16, 5, 7, 0.5, 16)]
    [InlineData(ElementType.Float32, 3, 2, 0.25, 32)]
    public void Tile_by_tile_gives_the_frames_of_a_stream_to_the_bit(ElementType type, long height, long width, double overlap, int side)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = SmallVae.Create();
        vae.To(type);
        var tiles = new TileOptions(side, overlap);
        var z = SmallVae.Random(1, 4, 5, height, width).To(type);
        Tensor[] pieces = [z.Narrow(2, 0, 2), z.Narrow(2, 2, 1), z.Narrow(2, 3, 2)];
        using var stream = vae.DecodeStream(tiles);
        Tensor[] expected = [.. pieces.Select(piece => stream.Push(piece))];
        var told = new List<(int, int)>();
        var actual = vae.DecodeTileByTile(pieces, tiles, (done, all) => told.Add((done, all)), TestContext.Current.CancellationToken);
        Assert.Equal(3, actual.Length);
        Assert.Equal(Enumerable.Range(0, told.Count).Select(i => (i, told.Count)), told);
        foreach (var (whole, parts) in expected.Zip(actual))
        {
            Assert.Equal(type, parts.Type);
            Assert.Equal(whole.To(ElementType.Float32).ToArray<float>(), parts.To(ElementType.Float32).ToArray<float>());
        }
    }

    [Fact]
    public void Tile_by_tile_remembers_frames_of_one_tile_only()
    {
        using var noGrad = NoGrad.Begin();
        using var vae = SmallVae.Create();
        var tiles = new TileOptions(16);
        var (streamed, byTile) = (Most(pieces =>
        {
            using var stream = vae.DecodeStream(tiles);
            foreach (var piece in pieces)
            {
                using var scope = new TensorScope();
                stream.Push(piece);
            }
        }), Most(pieces => vae.DecodeTileByTile(pieces, tiles)));
        Assert.True(byTile < 0.6 * streamed, $"{byTile} bytes tile by tile, {streamed} in a stream");

        static long Most(Action<Tensor[]> decode)
        {
            using var scope = new TensorScope();
            var z = SmallVae.Random(1, 4, 4, 16, 16);
            var before = TorchRuntime.CpuMemory.InUse;
            TorchRuntime.ResetPeak();
            decode([.. z.Chunk(4, 2)]);
            return TorchRuntime.CpuMemory.Peak - before;
        }
    }

    [Theory]
    [InlineData(null)]
    [InlineData(16)]
    public void The_last_piece_is_decoded_alike_and_leaves_nothing_in_memory(int? side)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var vae = SmallVae.Create();
        var tiles = side is { } size ? new TileOptions(size) : null;
        var z = SmallVae.Random(1, 4, 2, 3, 4);
        var (first, last) = (z.Narrow(2, 0, 1), z.Narrow(2, 1, 1));
        using var open = vae.DecodeStream(tiles);
        open.Push(first);
        var expected = open.Push(last).ToArray<float>();

        var before = TorchRuntime.CpuMemory.InUse;
        using var ended = vae.DecodeStream(tiles);
        using (new TensorScope())
        {
            ended.Push(first);
            Assert.Equal(expected, ended.Push(last, isEnd: true).ToArray<float>());
        }

        Assert.Equal(before, TorchRuntime.CpuMemory.InUse);
        Assert.Throws<InvalidOperationException>(() => ended.Push(last));
    }

    [Fact]
    public void Tiles_of_the_released_code_do_not_go_one_by_one()
    {
        using var scope = new TensorScope();
        using var vae = SmallVae.Create();
        var tiles = new TileOptions(16, Blend: TileBlend.Sequential);
        Assert.Contains("use weighted ones", Assert.Throws<ArgumentException>(() => vae.DecodeTileByTile([SmallVae.Random(1, 4, 1, 4, 4)], tiles, cancellationToken: TestContext.Current.CancellationToken)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Streams_of_one_network_do_not_disturb_each_other()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = SmallVae.Create();
        var (a, b) = (SmallVae.Random(1, 4, 2, 2, 2), SmallVae.Random(1, 4, 2, 2, 2) * -1);
        using var first = vae.DecodeStream();
        using var second = vae.DecodeStream();
        var begin = first.Push(a.Narrow(2, 0, 1));
        second.Push(b.Narrow(2, 0, 1));
        var end = first.Push(a.Narrow(2, 1, 1));
        GoldenTensors.AssertClose(vae.Decode(a), Tensor.Cat([begin, end], 2), Tolerance, Tolerance, "video");
    }

    [Fact]
    public void A_closed_stream_leaves_no_tensors()
    {
        using var vae = SmallVae.Create();
        var before = Tensor.LiveCount;
        using (var scope = new TensorScope())
        using (var stream = vae.DecodeStream())
        {
            stream.Push(SmallVae.Random(1, 4, 1, 2, 2));
            stream.Push(SmallVae.Random(1, 4, 1, 2, 2));
        }

        Assert.Equal(before, Tensor.LiveCount);
    }

    [Fact]
    public void Pieces_that_leave_a_latent_frame_unfinished_are_refused()
    {
        using var scope = new TensorScope();
        using var vae = SmallVae.Create();
        using var stream = vae.EncodeStream();
        var first = Assert.Throws<ArgumentException>(() => stream.Push(SmallVae.Random(1, 3, 8, 16, 16)));
        Assert.Equal("the video's first piece has 8 frames, which is not 1 more than a multiple of 8: use 9", first.Message);
        stream.Push(SmallVae.Random(1, 3, 1, 16, 16));
        var later = Assert.Throws<ArgumentException>(() => stream.Push(SmallVae.Random(1, 3, 12, 16, 16)));
        Assert.Equal("a piece has 12 frames, which is not a multiple of 8: use 8", later.Message);
        var window = Assert.Throws<ArgumentException>(() => vae.Encode(SmallVae.Random(1, 3, 17, 16, 16), window: 12));
        Assert.StartsWith("a window of 12 frames is not a multiple of 8: use 8", window.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_piece_of_another_size_is_refused()
    {
        using var scope = new TensorScope();
        using var vae = SmallVae.Create();
        using var stream = vae.DecodeStream();
        stream.Push(SmallVae.Random(1, 4, 1, 2, 2));
        Assert.Contains("open another stream", Assert.Throws<ArgumentException>(() => stream.Push(SmallVae.Random(1, 4, 1, 2, 3))).Message, StringComparison.Ordinal);
        Assert.Contains("[batch, 4, frames, height, width]", Assert.Throws<ArgumentException>(() => stream.Push(SmallVae.Random(1, 3, 1, 2, 2))).Message, StringComparison.Ordinal);
    }

    private static Tensor[] Push(VaeStream stream, Tensor x, int[] pieces)
    {
        var results = new Tensor[pieces.Length];
        for (var (i, at) = (0, 0); i < pieces.Length; at += pieces[i++])
            results[i] = stream.Push(x.Narrow(2, at, pieces[i]));
        return results;
    }
}
