using System.Globalization;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Benchmarks;

/// <summary>Measures models of real size with random weights on one device.</summary>
internal static class BenchmarkRun
{
    /// <summary>Measures the machine's rates, then the VAE, text encoders, the transformer, its training and a whole video, as far as asked for.</summary>
    /// <param name="options">The parts to measure.</param>
    /// <param name="progress">Takes a line before each longer piece of work and after each row.</param>
    /// <param name="cancellationToken">Stops between two measurements.</param>
    /// <exception cref="UsageException">The options are impossible; see <see cref="BenchmarkOptions.Check"/>.</exception>
    public static BenchmarkReport Run(BenchmarkOptions options, Action<string> progress, CancellationToken cancellationToken = default)
    {
        options.Check();
        var rates = RateMeasurement.Measure(options, progress, cancellationToken);
        var writer = new RowWriter(options.Device, progress);
        if (options.Vae is { } vae)
            Each(() => new VaeBenchmark(options, vae, rates, writer).Run(progress, cancellationToken));
        if (options.Text is { } text)
            Each(() => new TextBenchmark(options, text, rates, writer).Run(progress, cancellationToken));
        if (options.Transformer is { } transformer)
            Each(() => new DitBenchmark(options, transformer, writer).Run(progress, cancellationToken));
        if (options.Training is { } training)
            Each(() => TrainBenchmark.Run(options, training, writer, progress, cancellationToken));
        if (options.Video is { } video)
            Each(() => new VideoBenchmark(options, video, rates, writer).Run(progress, cancellationToken));
        return new BenchmarkReport(options.Device.ToString(), TorchRuntime.Threads, TorchRuntime.Version, options.Runs, rates, writer.Rows);

        // One model after the other in each element type; none meets memory of the one before.
        void Each(Action run)
        {
            foreach (var type in options.Types)
            {
                TorchRuntime.TrimMemory();
                writer.Type = type;
                writer.EndGroup();
                run();
            }

            TorchRuntime.TrimMemory();
        }
    }
}

/// <summary>Collects rows and says each as it comes.</summary>
internal sealed class RowWriter(Device device, Action<string> progress)
{
    internal List<BenchmarkRow> Rows { get; } = [];

    /// <summary>Element type of what is measured now.</summary>
    internal ElementType Type { get; set; }

    /// <summary>Adds a row.</summary>
    /// <param name="name">Name of the part that ran.</param>
    /// <param name="seconds">Median time.</param>
    /// <param name="flops">Operations.</param>
    /// <param name="rate">GFLOP/s that single operations reach.</param>
    /// <param name="stage">Stage of the pyramid.</param>
    /// <param name="unit">Unit of the video.</param>
    /// <param name="kind">Line of the picture over time.</param>
    /// <param name="peak">Most bytes of tensors; null is that since the last group.</param>
    internal void Add(string name, double seconds, double flops, double rate, int? stage = null, int? unit = null, string? kind = null, long? peak = null)
    {
        var row = new BenchmarkRow(name, stage, unit, Type == ElementType.BFloat16 ? "bf16" : "fp32", seconds, flops,
            flops / seconds / (rate * 1e9), (peak ?? TorchRuntime.PeakMemory(device)) / 1e6, kind, rate);
        Rows.Add(row);
        var place = (stage is null ? "" : $", stage {stage}") + (unit is null ? "" : $", unit {unit}");
        progress(string.Create(CultureInfo.InvariantCulture, $"{name}{place}: {seconds:0.000} s, {row.Share:0%} of the rate"));
    }

    /// <summary>Ends a group of rows that were measured together: the next ones have a peak of their own.</summary>
    internal void EndGroup() => ResetPeak();

    /// <summary>Restarts the measurement of the most memory.</summary>
    internal void ResetPeak()
    {
        if (device.Type == DeviceType.Cpu)
            TorchRuntime.ResetPeak();
        else
            DeviceMemory.ResetPeak(device);
    }
}

/// <summary>Weights for a model of real size within seconds: one block of random numbers, copied into all of them.</summary>
internal static class RandomWeights
{
    // Small enough that signals stay finite through all blocks.
    private const double Std = 0.02;
    private const long PoolSize = 1L << 24;

    internal static void Fill(Module model, ElementType type, Device device)
    {
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(1);
        using var scope = new TensorScope();
        var largest = model.NamedParameters().Max(p => p.Parameter.ElementCount);
        var pool = Tensor.Randn([Math.Min(largest, PoolSize)], generator).MulInPlace(Std).To(type).To(device);
        foreach (var (_, parameter) in model.NamedParameters())
        {
            using var inner = new TensorScope();
            var value = Tensor.Empty(parameter.Shape, type, device);
            var flat = value.Reshape(-1);
            for (long at = 0, total = flat.Size(0); at < total; at += pool.Size(0))
            {
                var count = Math.Min(pool.Size(0), total - at);
                flat.Narrow(0, at, count).CopyFrom(pool.Narrow(0, 0, count));
            }

            parameter.Value = value;
        }
    }
}
