using PyramidFlow.Torch;

namespace PyramidFlow.Benchmarks;

/// <summary>Measures <see cref="MachineRates"/>: the best of a few runs, for it stands for what is possible.</summary>
internal static class RateMeasurement
{
    private const int Runs = 5;

    internal static MachineRates Measure(BenchmarkOptions options, Action<string> progress, CancellationToken cancel)
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
            cancel.ThrowIfCancellationRequested();
            progress($"rate: {what}");
            return measure();
        }
    }

    // The three shapes of a block's linear layers, by their joint time.
    internal static double Gemm(RateSizes sizes, ElementType type, RandomGenerator generator, Device device)
    {
        var (flops, seconds) = (0.0, 0.0);
        foreach (var (inputs, outputs) in ((long, long)[])[(sizes.Dim, sizes.Dim), (sizes.Dim, 4 * sizes.Dim), (4 * sizes.Dim, sizes.Dim)])
        {
            using var scope = new TensorScope();
            var x = Tensor.Randn([sizes.Tokens, inputs], generator).To(device).To(type);
            var weight = Tensor.Randn([outputs, inputs], generator).To(device).To(type);
            var bias = Tensor.Zeros([outputs], type, device);
            flops += 2.0 * sizes.Tokens * inputs * outputs;
            seconds += Timing.Best(device, Runs, () => x.Linear(weight, bias));
        }

        return flops / seconds / 1e9;
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
