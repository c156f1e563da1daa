using System.Globalization;
using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Benchmarks;

/// <summary>What to measure, and at which size.</summary>
public sealed record BenchmarkOptions
{
    /// <summary>Stages of the spatial pyramid.</summary>
    internal const int Stages = 3;

    /// <summary>The transformer to measure, from <see cref="ReleasedModels.Transformer"/>; null leaves it out.</summary>
    public ITransformerConfig? Transformer { get; init; }

    /// <summary>The VAE to measure; null leaves it out.</summary>
    public CausalVideoVaeConfig? Vae { get; init; }

    /// <summary>Text encoders to measure; null leaves them out.</summary>
    public TextToMeasure? Text { get; init; }

    /// <summary>A training step to measure; null leaves it out.</summary>
    public TrainingToMeasure? Training { get; init; }

    /// <summary>A whole video to make with a released model's sizes; null makes none.</summary>
    public VideoToMeasure? Video { get; init; }

    /// <summary>Where to compute.</summary>
    public Device Device { get; init; } = Device.Cpu;

    /// <summary>Element types of the weights, in which all is computed, one after the other: float32 and bfloat16.</summary>
    public IReadOnlyList<ElementType> Types { get; init; } = [ElementType.Float32];

    /// <summary>Pixels of the video the transformer makes, multiples of 64.</summary>
    public (int Width, int Height) Size { get; init; } = (640, 384);

    /// <summary>Pixels of the frames the VAE decodes and encodes, multiples of its scale.</summary>
    public (int Width, int Height) VaeSize { get; init; } = (256, 256);

    /// <summary>Lengths of the videos the VAE decodes and encodes, in latent frames.</summary>
    public IReadOnlyList<int> VaeLatentFrames { get; init; } = [1, 2, 3];

    /// <summary>Pixels of the clips a training step learns from, multiples of 128.</summary>
    public (int Width, int Height) TrainingSize { get; init; } = (256, 256);

    /// <summary>Tiles for a decoder that goes tile by tile; null decodes and encodes whole frames.</summary>
    public TileOptions? VaeTiles { get; init; }

    /// <summary>Which units of the video the transformer makes, from 0, in rising order; the units before one are its history.</summary>
    public IReadOnlyList<int> Units { get; init; } = [1, 8, 16];

    /// <summary>How often each row is measured; the median counts. At least 1.</summary>
    public int Runs { get; init; } = 1;

    /// <summary>Sizes of the operations whose rates are the yardstick.</summary>
    public RateSizes Rates { get; init; } = RateSizes.Released;

    /// <summary>Refuses what cannot be measured.</summary>
    /// <exception cref="ArgumentException">A size, unit or element type is impossible; the message has the fix.</exception>
    public void Check()
    {
        if (Types.Count == 0 || Types.Any(type => type is not (ElementType.Float32 or ElementType.BFloat16)))
            throw new ArgumentException($"[{string.Join(", ", Types)}] are not measured: use Float32, BFloat16 or both");
        if (Units.Count == 0 || Units.Min() < 0)
            throw new ArgumentException(Units.Count == 0 ? "no unit is named: use 0 for the first" : $"unit {Units.Min()} is negative: use 0 for the first");
        if (Runs < 1)
            throw new ArgumentException($"{Runs} runs give no median: use 1 or more");
        if (Transformer is not null)
        {
            CheckMultiple("width", Size.Width, 64);
            CheckMultiple("height", Size.Height, 64);
        }

        if (Training is not null)
        {
            CheckMultiple("width", TrainingSize.Width, 128);
            CheckMultiple("height", TrainingSize.Height, 128);
        }

        Video?.Settings(PlannedModel.Released(Video.Family, Video.Variant).Settings);
        if (Vae is not null)
        {
            if (VaeLatentFrames.Count == 0 || VaeLatentFrames.Min() < 1)
                throw new ArgumentException($"[{string.Join(", ", VaeLatentFrames)}] latent frames make no video: use 1 or more");
            VaeTiles?.Check(Vae.SpatialScale);
            CheckMultiple("width", VaeSize.Width, Vae.SpatialScale);
            CheckMultiple("height", VaeSize.Height, Vae.SpatialScale);
        }
    }

    private static void CheckMultiple(string name, int value, int multiple)
    {
        if (value >= multiple && value % multiple == 0)
            return;
        var fit = Math.Max(1, value / multiple) * multiple;
        throw new ArgumentException(string.Create(CultureInfo.InvariantCulture, $"{name} {value} is not a multiple of {multiple}: use {fit} or {fit + multiple}"));
    }
}
