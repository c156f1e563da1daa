using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Objectives;

/// <summary>Memory of a VAE's loss between forward and backward, and its work.</summary>
internal static class LossMemory
{
    // Copies of the clips: frames of both sides, difference, square, gradient and its sum.
    private const int Copies = 6;

    // Of a layer of the discriminator: result of the convolution, its norm and the activation, with the copies in between.
    private const int LayerCopies = 4;

    private static readonly int[] Convolutions = [2, 2, 3, 3, 3];

    /// <summary>Channels of the parts of VGG16.</summary>
    internal static IReadOnlyList<int> VggChannels { get; } = [64, 128, 256, 512, 512];

    /// <summary>Most bytes of the loss.</summary>
    /// <param name="clips">The clips, or the longest window of them.</param>
    /// <param name="perceptual">Channels of the five parts of LPIPS; null is none.</param>
    /// <param name="discriminator">Width and layers of the discriminator; null is none, or one that does not begin.</param>
    /// <param name="device">Where it is computed.</param>
    internal static long Of(ClipBatchSize clips, IReadOnlyList<int>? perceptual, (int Width, int Layers)? discriminator, DeviceType device)
    {
        var pixels = Bytes(3 * clips.Positions, device);
        return (Copies * pixels) + Math.Max(perceptual is null ? 0 : Perceptual(clips, perceptual, device), discriminator is { } used ? DiscriminatorBytes(clips, used, device) : 0);
    }

    /// <summary>Operations of LPIPS on both sides, forward and, of the reconstruction, backward.</summary>
    internal static double PerceptualFlops(ClipBatchSize clips, IReadOnlyList<int> channels)
    {
        var (sum, inputs, area) = (0.0, 3L, clips.Positions);
        for (var part = 0; part < channels.Count; part++, area /= 4)
        {
            for (var i = 0; i < Convolutions[part]; i++, inputs = channels[part])
                sum += 2.0 * 9 * inputs * channels[part] * area;
        }

        return 3 * sum;
    }

    // Both sides keep the results of convolutions and activations until the distance is computed.
    private static long Perceptual(ClipBatchSize clips, IReadOnlyList<int> channels, DeviceType device)
    {
        var sum = 4 * Bytes(3 * clips.Positions, device);
        var area = clips.Positions;
        for (var part = 0; part < channels.Count; part++, area /= 4)
        {
            var features = Bytes(channels[part] * area, device);
            // Convolution and activation of both sides; squares and quotients of both, their difference and its square.
            sum += (2 * 2 * Convolutions[part] * features) + (6 * features);
            // Results of pooling, and their places in 8 bytes.
            if (part + 1 < channels.Count)
                sum += 2 * (Bytes(channels[part] * area / 4, device) + Bytes(2 * channels[part] * area / 4, device));
        }

        return sum;
    }

    private static long DiscriminatorBytes(ClipBatchSize clips, (int Width, int Layers) discriminator, DeviceType device)
    {
        const int widest = 8;
        var (sum, area) = (0L, clips.Positions);
        for (var layer = 0; layer <= discriminator.Layers; layer++)
        {
            area = layer < discriminator.Layers ? area / 4 : area;
            sum += LayerCopies * Bytes(discriminator.Width * Math.Min(1L << layer, widest) * area, device);
        }

        return sum;
    }

    private static long Bytes(long numbers, DeviceType device) => AllocatedBytes.Of(numbers * sizeof(float), device);
}
