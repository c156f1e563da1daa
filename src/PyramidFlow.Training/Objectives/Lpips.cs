using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Objectives;

/// <summary>
/// Learned perceptual image patch similarity (LPIPS, arXiv 1801.03924) on VGG16 features
/// (<c>video_vae/modeling_lpips.py</c>); the weights are frozen.
/// </summary>
internal sealed class Lpips : Module
{
    // Keeps the gradient finite where all channels are 0; the square root is far below float32 resolution.
    private const double LeastSquare = 1e-30;
    private const double Epsilon = 1e-10;

    private readonly LpipsScaling scalingLayer = new();
    private readonly VggFeatures net;
    private readonly LpipsChannelWeights lin0;
    private readonly LpipsChannelWeights lin1;
    private readonly LpipsChannelWeights lin2;
    private readonly LpipsChannelWeights lin3;
    private readonly LpipsChannelWeights lin4;

    /// <summary>Declares the network without weights.</summary>
    /// <param name="channels">Channels of the five parts of the network; null is VGG16's 64, 128, 256, 512, 512.</param>
    public Lpips(IReadOnlyList<int>? channels = null)
    {
        channels ??= [64, 128, 256, 512, 512];
        net = new VggFeatures(channels);
        lin0 = new LpipsChannelWeights(channels[0]);
        lin1 = new LpipsChannelWeights(channels[1]);
        lin2 = new LpipsChannelWeights(channels[2]);
        lin3 = new LpipsChannelWeights(channels[3]);
        lin4 = new LpipsChannelWeights(channels[4]);
        foreach (var (_, parameter) in NamedParameters())
            parameter.Trainable = false;
    }

    private LpipsChannelWeights[] ChannelWeights => [lin0, lin1, lin2, lin3, lin4];

    /// <summary>Loads the weights of the released trainer (<c>vgg_lpips.pth</c>: VGG16 and the channel weights in one file).</summary>
    /// <exception cref="CheckpointException">The file is missing, damaged or belongs to another network.</exception>
    public static Lpips Open(string path)
    {
        if (!File.Exists(path))
            throw CheckpointFault.LpipsMissing(path);
        using var weights = WeightsFile.Open(path);
        var lpips = new Lpips();
        lpips.Load(weights, ElementType.Float32);
        return lpips;
    }

    /// <summary>Perceptual distance of pairs of images.</summary>
    /// <param name="input">Pixels in -1 to 1, [b, 3, h, w].</param>
    /// <param name="target">Pixels in -1 to 1, [b, 3, h, w].</param>
    /// <returns>[b, 1, 1, 1]; 0 for equal images.</returns>
    public Tensor Forward(Tensor input, Tensor target)
    {
        using var scope = new TensorScope();
        var (a, b) = (Features(input), Features(target));
        var parts = ChannelWeights.Select((weights, part) =>
        {
            var difference = Unit(a[part]) - Unit(b[part]);                                         // [b, c, h', w']
            return weights.Forward(difference * difference).Mean([2, 3], keepDim: true);            // [b, 1, 1, 1]
        });
        return scope.Keep(parts.Aggregate((sum, part) => sum + part));
    }

    /// <summary>The compared features before normalisation: the last activations of the five parts, [b, c, h', w'].</summary>
    /// <param name="x">Pixels in -1 to 1, [b, 3, h, w].</param>
    public Tensor[] Features(Tensor x) => net.Forward(scalingLayer.Forward(x));

    private static Tensor Unit(Tensor x) =>
        x / ((x * x).Sum([1], keepDim: true).ClampMin(LeastSquare).Sqrt() + Epsilon);
}

/// <summary>Converts pixels in -1 to 1 to the input range of VGG16.</summary>
internal sealed class LpipsScaling : Module
{
    private readonly Parameter shift = new([1, 3, 1, 1], Initializers.Zeros);
    private readonly Parameter scale = new([1, 3, 1, 1], Initializers.Ones);

    /// <summary>[b, 3, h, w] to the same shape.</summary>
    internal Tensor Forward(Tensor x) => (x - shift) / scale;
}

/// <summary>Weights of the channels of one part of the network.</summary>
internal sealed class LpipsChannelWeights(long channels) : Module
{
    [Key("model.1.weight")]
    private readonly Parameter weight = new([1, channels, 1, 1], Initializers.Ones);

    /// <summary>[b, c, h, w] to [b, 1, h, w].</summary>
    internal Tensor Forward(Tensor x) => x.Conv2d(weight, null, [1, 1], [0, 0]);
}

/// <summary>The convolutions of VGG16 in five parts with pooling between them (arXiv 1409.1556).</summary>
/// <remarks>Keys are indices into the sequence of convolutions, activations and poolings, as in torchvision.</remarks>
internal sealed class VggFeatures : Module
{
    private readonly Convolution?[] slice1;
    private readonly Convolution?[] slice2;
    private readonly Convolution?[] slice3;
    private readonly Convolution?[] slice4;
    private readonly Convolution?[] slice5;

    internal VggFeatures(IReadOnlyList<int> channels)
    {
        if (channels.Count != 5)
            throw new ArgumentException($"the features of VGG16 have 5 widths, not {channels.Count}", nameof(channels));
        slice1 = Part(3, channels[0], first: 0, count: 2);
        slice2 = Part(channels[0], channels[1], first: 5, count: 2);
        slice3 = Part(channels[1], channels[2], first: 10, count: 3);
        slice4 = Part(channels[2], channels[3], first: 17, count: 3);
        slice5 = Part(channels[3], channels[4], first: 24, count: 3);
    }

    /// <summary>[b, 3, h, w] to the last activations of each part, [b, c, h / 2^part, w / 2^part].</summary>
    internal Tensor[] Forward(Tensor x)
    {
        var features = new List<Tensor>();
        foreach (var part in new[] { slice1, slice2, slice3, slice4, slice5 })
        {
            if (features.Count > 0)
                x = x.MaxPool2d(2, 2);
            foreach (var layer in part.OfType<Convolution>())
                x = layer.Forward(x).Relu();
            features.Add(x);
        }

        return [.. features];
    }

    // Every other index is an activation.
    private static Convolution?[] Part(long inputs, long outputs, int first, int count)
    {
        var layers = new Convolution?[first + (2 * count) - 1];
        for (var i = 0; i < count; i++)
            layers[first + (2 * i)] = new Convolution(i == 0 ? inputs : outputs, outputs, [3, 3], [1, 1], [1, 1], Initializers.Zeros);
        return layers;
    }
}
