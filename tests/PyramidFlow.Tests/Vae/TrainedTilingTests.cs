using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Vae;

namespace PyramidFlow.Tests.Vae;

/// <summary>With the VAE of the shipped model: random weights say nothing about how visible a seam is.</summary>
public sealed class TrainedTilingTests
{
    private const int Side = 192, FrameCount = 9;
    private static readonly TileOptions Tiles = new(128, 0.5);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Tiles_show_no_seam(bool textured)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = Load();
        var clip = Clip(textured);
        var whole = vae.Decode(vae.Encode(clip).Mode);
        var tiled = vae.Decode(vae.Encode(clip, tiles: Tiles).Mode, tiles: Tiles);
        var (difference, lost) = ((whole - tiled).Abs().Max().Item(), (whole - clip).Abs().Max().Item());
        var step = SeamStep(tiled - whole);
        TestContext.Current.TestOutputHelper?.WriteLine($"largest difference {difference:F4}, step at a seam {step:F4}, what the VAE loses itself {lost:F4}");
        Assert.InRange(difference, 0, textured ? 0.2 : 0.05);
        Assert.InRange(step, 0, 0.05);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Decoding_in_pieces_with_tiles_equals_decoding_at_once_with_tiles(int window)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = Load();
        var latents = vae.Encode(Clip(textured: true), window: 8, tiles: Tiles).Mode;
        var difference = (vae.Decode(latents, tiles: Tiles) - vae.Decode(latents, window, Tiles)).Abs().Max().Item();
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

    // A moving slope of colour, or with waves over it, in -1 to 1.
    private static Tensor Clip(bool textured)
    {
        var t = Tensor.Arange(0, FrameCount).Reshape(1, 1, FrameCount, 1, 1);
        var y = (Tensor.Arange(0, Side) / Side).Reshape(1, 1, 1, Side, 1);
        var x = (Tensor.Arange(0, Side) / Side).Reshape(1, 1, 1, 1, Side);
        var colours = Tensor.From([0.8f, -0.3f, 0.5f], 1, 3, 1, 1, 1);
        var slope = colours * (x + (y * 0.5) - 0.7 + (t * 0.01));
        return textured ? slope + (((x * 60) + (t * 0.3)).Sin() * (y * 45).Sin() * 0.25) : slope;
    }

    // How much the picture jumps, beyond what the whole one does, from one pixel to the next.
    private static double SeamStep(Tensor error) => Math.Max(
        (error.Narrow(4, 1, Side - 1) - error.Narrow(4, 0, Side - 1)).Abs().Mean([0, 1, 2, 3]).Max().Item(),
        (error.Narrow(3, 1, Side - 1) - error.Narrow(3, 0, Side - 1)).Abs().Mean([0, 1, 2, 4]).Max().Item());
}
