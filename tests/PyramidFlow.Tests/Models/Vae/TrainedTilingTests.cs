using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Models.Vae;

/// <summary>With the VAE of the shipped model: random weights say nothing about how visible a seam is.</summary>
public sealed class TrainedTilingTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Tiles_show_no_seam(bool textured)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = Load();
        var (clip, tiles) = (Clip(textured, side: 192, frames: 1), new TileOptions(128, 0.5));
        var whole = vae.Decode(vae.Encode(clip).Mode);
        var tiled = vae.Decode(vae.Encode(clip, tiles: tiles).Mode, tiles: tiles);
        var (difference, lost, step) = ((whole - tiled).Abs().Max().Item(), (whole - clip).Abs().Max().Item(), SeamStep(tiled - whole));
        TestContext.Current.TestOutputHelper?.WriteLine($"largest difference {difference:F4}, step at a seam {step:F4}, what the VAE loses itself {lost:F4}");
        Assert.InRange(difference, 0, lost / 2);
        // In -1 to 1: two of 255 levels from a column or row to the next.
        Assert.InRange(step, 0, 2 / 127.5);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Decoding_in_pieces_with_tiles_equals_decoding_at_once_with_tiles(int window)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = Load();
        var tiles = new TileOptions(64, 0.25);
        var latents = vae.Encode(Clip(textured: true, side: 96, frames: 25), window: 8, tiles: tiles).Mode;
        var difference = (vae.Decode(latents, tiles: tiles) - vae.Decode(latents, window, tiles)).Abs().Max().Item();
        Assert.InRange(difference, 0, 1e-3);
    }

    private static CausalVideoVae Load()
    {
        var folder = CheckpointFolder.Open(Model()).Vae;
        var vae = new CausalVideoVae(CausalVideoVaeConfig.Read(folder.ConfigFile));
        using var weights = folder.OpenWeights();
        vae.Load(weights, ElementType.Float32);
        return vae;
    }

    private static string Model()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (Directory.Exists(Path.Combine(folder.FullName, "models", "sprites")))
                return Path.Combine(folder.FullName, "models", "sprites");
        }

        throw new DirectoryNotFoundException("the repository's models/sprites is not above the tests");
    }

    // A soft disc that moves over a plain background, or with waves in both, in -1 to 1.
    private static Tensor Clip(bool textured, int side, int frames)
    {
        var t = Tensor.Arange(0, frames).Reshape(1, 1, frames, 1, 1);
        var y = Tensor.Arange(0, side).Reshape(1, 1, 1, side, 1);
        var x = Tensor.Arange(0, side).Reshape(1, 1, 1, 1, side);
        var (dx, dy) = (x - (t * 2.2) - (side * 0.42), y - (side * 0.5));
        var inside = (((dx * dx) + (dy * dy)).Sqrt() * -0.5 + 20).Sigmoid();                          // [1, 1, t, h, w]
        var (ground, disc) = (Tensor.From([-0.8f, -0.8f, -0.3f], 1, 3, 1, 1, 1), Tensor.From([0.7f, -0.6f, -0.6f], 1, 3, 1, 1, 1));
        var clip = ground + ((disc - ground) * inside);
        return textured ? clip + (((x * 0.3) + (t * 0.3)).Sin() * (y * 0.25).Sin() * 0.2) : clip;
    }

    // How much the picture jumps, beyond what the whole one does, from one pixel to the next.
    private static double SeamStep(Tensor error)
    {
        var last = error.Size(4) - 1;
        return Math.Max(
            (error.Narrow(4, 1, last) - error.Narrow(4, 0, last)).Abs().Mean([0, 1, 2, 3]).Max().Item(),
            (error.Narrow(3, 1, last) - error.Narrow(3, 0, last)).Abs().Mean([0, 1, 2, 4]).Max().Item());
    }
}
