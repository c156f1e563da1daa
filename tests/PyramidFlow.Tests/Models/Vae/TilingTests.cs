using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Vae;

public sealed class TilingTests
{
    [Theory]
    [InlineData(TileBlend.Weighted, 40, 56)]
    [InlineData(TileBlend.Weighted, 16, 88)]
    [InlineData(TileBlend.Sequential, 40, 56)]
    [InlineData(TileBlend.Sequential, 64, 24)]
    public void Tiles_that_agree_give_the_whole_again(TileBlend blend, long height, long width)
    {
        using var scope = new TensorScope();
        var x = SmallVae.Random(1, 2, 3, height, width);
        var tiling = Tiling.ForDecoding(new TileOptions(24, Blend: blend), height, width, scale: 1)!;
        GoldenTensors.AssertClose(x, tiling.Run(x, (tile, _) => tile.Clone()), 1e-6, 1e-6, "whole");
    }

    [Fact]
    public void Tiles_of_pixels_begin_at_whole_latents()
    {
        using var scope = new TensorScope();
        var x = SmallVae.Random(1, 2, 1, 64, 56);
        var tiling = Tiling.ForEncoding(new TileOptions(48), 64, 56, scale: 8)!;
        var whole = tiling.Run(x, (tile, _) => Means(tile));
        GoldenTensors.AssertClose(Means(x), whole, 1e-6, 1e-6, "means");
    }

    [Fact]
    public void Blending_does_not_depend_on_the_order()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        var x = SmallVae.Random(1, 1, 1, 40, 40);
        var tiling = Tiling.ForDecoding(new TileOptions(24), 40, 40, scale: 1)!;
        var numbered = tiling.Run(x, (tile, i) => (tile * 0) + i);
        var mirrored = tiling.Run(x, (tile, i) => (tile * 0) + (tiling.Count - 1 - i)).Flip(3, 4);
        GoldenTensors.AssertClose(numbered, mirrored, 1e-6, 1e-6, "mirrored");
    }

    [Fact]
    public void Frames_that_fit_into_a_tile_are_not_cut()
    {
        Assert.Null(Tiling.ForEncoding(new TileOptions(256), 256, 256, scale: 8));
        Assert.Null(Tiling.ForDecoding(new TileOptions(256), 32, 32, scale: 8));
        Assert.Null(Tiling.ForDecoding(null, 320, 320, scale: 8));
    }

    [Theory]
    [InlineData(60, 0.25, "tile_size", "size=60 multiple=8")]
    [InlineData(8, 0.25, "tile_size", "size=8 multiple=8")]
    [InlineData(64, 0.6, "tile_overlap_out_of_range", "overlap=0.6")]
    [InlineData(64, double.NaN, "tile_overlap_out_of_range", "overlap=NaN")]
    public void Impossible_tiles_are_refused(int size, double overlap, string code, string parameters) =>
        FaultAssert.Has(Assert.Throws<RequestException>(() => Tiling.ForEncoding(new TileOptions(size, overlap), 128, 128, 8)), code, parameters);

    [Fact]
    public void Frames_that_are_no_multiple_of_the_scale_cannot_be_cut() =>
        Assert.Throws<ArgumentException>(() => Tiling.ForEncoding(new TileOptions(64), 128, 100, 8));

    private static Tensor Means(Tensor x) => x.Squeeze(2).AvgPool2d(8, 8).Unsqueeze(2);
}
