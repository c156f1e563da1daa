using PyramidFlow.Torch;

namespace PyramidFlow.Training.Objectives;

/// <summary>Configuration of a <see cref="PatchDiscriminator"/>.</summary>
/// <param name="Channels">Channels of the input.</param>
/// <param name="Width">Channels of the first layer.</param>
/// <param name="Layers">Number of times height and width are halved; at least 1.</param>
/// <param name="IsVideo">Whether the input is clips (3-D convolutions) or single frames.</param>
internal sealed record DiscriminatorConfig(int Channels = 3, int Width = 64, int Layers = 4, bool IsVideo = false);

/// <summary>
/// Distinguishes real from decoded images or clips, patch by patch (PatchGAN, arXiv 1611.07004;
/// <c>video_vae/modeling_discriminator.py</c>).
/// </summary>
internal sealed class PatchDiscriminator : Module
{
    private const int Kernel = 4, Padding = 1, MaxWidening = 8;
    private const double Slope = 0.2;

    private readonly Convolution?[] main;

    /// <summary>Declares the network.</summary>
    public PatchDiscriminator(DiscriminatorConfig? config = null)
    {
        Config = config ?? new DiscriminatorConfig();
        ArgumentOutOfRangeException.ThrowIfLessThan(Config.Layers, 1);

        // The indices of keys count norms and activations too.
        main = new Convolution?[(3 * Config.Layers) + 3];
        main[0] = Layer(Config.Channels, Config.Width, stride: 2, timeStride: 2);
        for (var layer = 1; layer <= Config.Layers; layer++)
        {
            var stride = layer < Config.Layers ? 2 : 1;
            main[(3 * layer) - 1] = Layer(WidthOf(layer - 1), WidthOf(layer), stride, timeStride: 1);
        }

        main[^1] = Layer(WidthOf(Config.Layers), 1, stride: 1, timeStride: 1);
    }

    /// <summary>Configuration.</summary>
    public DiscriminatorConfig Config { get; }

    // Two convolutions of stride 1 leave one patch of it.
    private int LeastFrames => (2 * Config.Layers) + 4;

    /// <summary>Smallest accepted height and width in pixels.</summary>
    public int LeastSide => 3 << Config.Layers;

    /// <summary>Computes logits, positive where a patch looks real.</summary>
    /// <param name="x">Pixels, [b, 3, h, w], or [b, 3, t, h, w] for clips; a clip that is too short is padded with its last frame.</param>
    /// <returns>One logit per patch, [b, 1, h', w'] or [b, 1, t', h', w'].</returns>
    /// <exception cref="ArgumentException">The input is too small for the number of layers.</exception>
    public Tensor Forward(Tensor x)
    {
        if (x.Size(-1) < LeastSide || x.Size(-2) < LeastSide)
            throw new ArgumentException($"pictures of {x.Size(-2)}x{x.Size(-1)} are too small for a discriminator of {Config.Layers} layers: use at least {LeastSide}x{LeastSide}, or fewer layers", nameof(x));
        using var scope = new TensorScope();
        Convolution[] layers = [.. main.OfType<Convolution>()];
        var h = layers[0].Forward(Config.IsVideo ? LongEnough(x) : x).LeakyRelu(Slope);
        foreach (var layer in layers[1..^1])
            h = Normalize(layer.Forward(h)).LeakyRelu(Slope);                                       // [b, c, ...]
        return scope.Keep(layers[^1].Forward(h));
    }

    private long WidthOf(int layer) => Config.Width * Math.Min(1 << layer, MaxWidening);

    // Instance norm.
    private static Tensor Normalize(Tensor x) => x.GroupNorm(x.Size(1));

    private Tensor LongEnough(Tensor clip)
    {
        var (frames, missing) = (clip.Size(2), LeastFrames - clip.Size(2));
        return missing <= 0 ? clip
            : Tensor.Cat([clip, clip.Narrow(2, frames - 1, 1).Expand(-1, -1, missing, -1, -1)], 2);
    }

    private Convolution Layer(long inputs, long outputs, int stride, int timeStride) => Config.IsVideo
        ? new Convolution(inputs, outputs, [Kernel, Kernel, Kernel], [timeStride, stride, stride], [Padding, Padding, Padding], Initializers.Normal(0.02))
        : new Convolution(inputs, outputs, [Kernel, Kernel], [stride, stride], [Padding, Padding], Initializers.Normal(0.02));
}
