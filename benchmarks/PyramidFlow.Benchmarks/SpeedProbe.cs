using PyramidFlow.Torch;

namespace PyramidFlow.Benchmarks;

/// <summary>A quick look at how fast this machine is, in about a second.</summary>
public static class SpeedProbe
{
    // Shapes of the released models with few rows.
    private static readonly RateSizes Small = new(Tokens: 256, Dim: 1920, Channels: 256, Side: 32, CopyBytes: 0);

    /// <summary>Operations a second in matrix products and in convolutions.</summary>
    /// <param name="type">Float32 or bfloat16.</param>
    /// <param name="device">Where to measure; null is the CPU.</param>
    public static (double Products, double Convolutions) Measure(ElementType type, Device? device = null)
    {
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(1);
        var place = device ?? Device.Cpu;
        return (1e9 * RateMeasurement.Gemm(Small, type, generator, place), 1e9 * RateMeasurement.Conv(Small, type, generator, place));
    }
}
