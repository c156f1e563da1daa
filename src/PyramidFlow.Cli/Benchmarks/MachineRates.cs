using PyramidFlow.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Benchmarks;

/// <summary>Rates of single operations on this machine, measured in the same process as the rows.</summary>
/// <param name="GemmFp32">Matrix products in float32, GFLOP/s.</param>
/// <param name="GemmBf16">Matrix products in bfloat16, GFLOP/s.</param>
/// <param name="ConvFp32">3x3x3 convolution in float32, GFLOP/s.</param>
/// <param name="ConvBf16">The same in bfloat16; measured only when the VAE runs in it.</param>
/// <param name="Copy">Memory read plus written by a copy, GB/s.</param>
internal sealed record MachineRates(double GemmFp32, double GemmBf16, double ConvFp32, double? ConvBf16, double Copy)
{
    /// <summary>The rate of matrix products in this type, GFLOP/s.</summary>
    internal double Gemm(ElementType type) => type == ElementType.BFloat16 ? GemmBf16 : GemmFp32;

    /// <summary>The rate of convolutions in this type, GFLOP/s.</summary>
    internal double Conv(ElementType type) => type == ElementType.BFloat16 ? ConvBf16!.Value : ConvFp32;
}

/// <summary>Sizes of the single operations whose speed is the yardstick for whole models.</summary>
/// <param name="Tokens">Rows of the matrix products.</param>
/// <param name="Dim">Width of the transformer: the products are Dim to Dim, Dim to 4 Dim and back.</param>
/// <param name="Channels">Channels in and out of the 3x3x3 convolution.</param>
/// <param name="Side">Height and width of its frames; two frames come out.</param>
/// <param name="CopyBytes">Bytes of the copied tensor; well beyond the caches.</param>
internal sealed record RateSizes(long Tokens, long Dim, long Channels, long Side, long CopyBytes)
{
    /// <summary>Shapes of the released models.</summary>
    public static RateSizes Released { get; } = new(1024, 1920, 256, 64, 256L << 20);

    /// <summary>The same with as many rows and pixels as keep a GPU busy.</summary>
    public static RateSizes ReleasedOnGpu { get; } = new(8192, 1920, 256, 256, 4L << 30);
}

/// <summary>Measures <see cref="MachineRates"/>: the best of a few runs, for it stands for what is possible.</summary>
internal static class RateMeasurement
{
    private const int Runs = 5;

    internal static MachineRates Measure(BenchmarkOptions options, Action<string> progress, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(1);
        var (sizes, device) = (options.Rates, options.Device);
        var convolvesNarrow = (options.Vae is not null || options.Video is not null) && options.Types.Contains(ElementType.BFloat16);
        return new MachineRates(
            Step("products in float32", () => Gemm(sizes, ElementType.Float32, generator, device)),
            Step("products in bfloat16", () => Gemm(sizes, ElementType.BFloat16, generator, device)),
            Step("convolution in float32", () => Conv(sizes, ElementType.Float32, generator, device)),
            convolvesNarrow ? Step("convolution in bfloat16", () => Conv(sizes, ElementType.BFloat16, generator, device)) : null,
            Step("copy", () => Copy(sizes, device)));

        double Step(string what, Func<double> measure)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress($"rate: {what}");
            return measure();
        }
    }

    // By the joint time of all shapes.
    internal static double Gemm(RateSizes sizes, ElementType type, RandomGenerator generator, Device device)
    {
        using var scope = new TensorScope();
        var products = BlockProduct.Of(sizes.Tokens, sizes.Dim, type, device, generator);
        return products.Sum(product => product.Flops) / products.Sum(product => Timing.Best(device, Runs, () => product.Compute())) / 1e9;
    }

    internal static double Conv(RateSizes sizes, ElementType type, RandomGenerator generator, Device device)
    {
        using var scope = new TensorScope();
        var (channels, side) = (sizes.Channels, sizes.Side);
        var x = Tensor.Randn([1, channels, 4, side, side], generator).To(device).To(type);
        var weight = Tensor.Randn([channels, channels, 3, 3, 3], generator).To(device).To(type);
        var flops = 2.0 * 27 * channels * channels * 2 * side * side;
        return flops / Timing.Best(device, Runs, () => x.Conv3d(weight, null, [1, 1, 1], [0, 1, 1])) / 1e9;
    }

    private static double Copy(RateSizes sizes, Device device)
    {
        using var scope = new TensorScope();
        var (from, to) = (Tensor.Ones([sizes.CopyBytes / sizeof(float)], device: device), Tensor.Zeros([sizes.CopyBytes / sizeof(float)], device: device));
        return 2.0 * sizes.CopyBytes / Timing.Best(device, Runs, () => to.CopyFrom(from)) / 1e9;
    }
}

/// <summary>Measures the speed of this machine in about a second.</summary>
internal static class SpeedProbe
{
    // Shapes of the released models, with few rows to stay fast.
    private static readonly RateSizes Small = new(Tokens: 256, Dim: 1920, Channels: 256, Side: 32, CopyBytes: 0);

    /// <summary>Operations a second in matrix products and in convolutions.</summary>
    /// <param name="type">Element type; float16 is as fast as bfloat16.</param>
    /// <param name="device">Device to measure; null is the CPU.</param>
    public static MachineSpeed Measure(ElementType type, Device? device = null)
    {
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(1);
        var place = device ?? Device.Cpu;
        if (type == ElementType.Float16)
            type = ElementType.BFloat16;
        return new MachineSpeed(1e9 * RateMeasurement.Gemm(Small, type, generator, place), 1e9 * RateMeasurement.Conv(Small, type, generator, place));
    }
}
