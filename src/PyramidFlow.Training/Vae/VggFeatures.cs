using PyramidFlow.Torch;

namespace PyramidFlow.Training.Vae;

/// <summary>The convolutions of VGG16 in five parts, between which the picture is halved (arXiv 1409.1556).</summary>
/// <remarks>A layer's key is its number among convolutions, activations and poolings, as in torchvision.</remarks>
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

    // An activation stands between two convolutions.
    private static Convolution?[] Part(long inputs, long outputs, int first, int count)
    {
        var layers = new Convolution?[first + (2 * count) - 1];
        for (var i = 0; i < count; i++)
            layers[first + (2 * i)] = new Convolution(i == 0 ? inputs : outputs, outputs, [3, 3], [1, 1], [1, 1], Initializers.Zeros);
        return layers;
    }
}
