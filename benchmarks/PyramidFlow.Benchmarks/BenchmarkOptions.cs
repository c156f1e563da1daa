using System.Globalization;
using PyramidFlow.Planning;
using PyramidFlow.Torch;
using PyramidFlow.Transformers;
using PyramidFlow.Vae;

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

    /// <summary>A whole video to make with a released model's sizes; null makes none.</summary>
    public VideoToMeasure? Video { get; init; }

    /// <summary>Where to compute.</summary>
    public Device Device { get; init; } = Device.Cpu;

    /// <summary>Element type of the weights, in which all is computed: float32 or bfloat16.</summary>
    public ElementType Type { get; init; } = ElementType.Float32;

    /// <summary>Pixels of the video the transformer makes, multiples of 64.</summary>
    public (int Width, int Height) Size { get; init; } = (640, 384);

    /// <summary>Pixels of the frames the VAE decodes and encodes, multiples of its scale.</summary>
    public (int Width, int Height) VaeSize { get; init; } = (256, 256);

    /// <summary>Tiles for a decoder that goes tile by tile; null decodes and encodes whole frames.</summary>
    public TileOptions? VaeTiles { get; init; }

    /// <summary>Which unit of the video the transformer makes, from 0; the units before it are its history.</summary>
    public int Unit { get; init; } = 8;

    /// <summary>How often each row is measured; the median counts. At least 1.</summary>
    public int Runs { get; init; } = 1;

    /// <summary>Sizes of the operations whose rates are the yardstick.</summary>
    public RateSizes Rates { get; init; } = RateSizes.Released;

    /// <summary>Refuses what cannot be measured.</summary>
    /// <exception cref="ArgumentException">A size, unit or element type is impossible; the message has the fix.</exception>
    public void Check()
    {
        if (Type is not (ElementType.Float32 or ElementType.BFloat16))
            throw new ArgumentException($"{Type} is not measured: use Float32 or BFloat16");
        if (Unit < 0)
            throw new ArgumentException($"unit {Unit} is negative: use 0 for the first");
        if (Runs < 1)
            throw new ArgumentException($"{Runs} runs give no median: use 1 or more");
        if (Transformer is not null)
        {
            CheckMultiple("width", Size.Width, 64);
            CheckMultiple("height", Size.Height, 64);
        }

        Video?.Settings(PlannedModel.Released(Video.Family, Video.Variant).Settings);
        if (Vae is not null)
        {
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
