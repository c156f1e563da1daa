using PyramidFlow.Torch;

namespace PyramidFlow.Benchmarks;

/// <summary>Measures models of real size with random weights on one device.</summary>
public static class BenchmarkRun
{
    /// <summary>Measures the machine's rates, then the VAE, then the transformer, then a whole video.</summary>
    /// <param name="options">What to measure.</param>
    /// <param name="progress">Takes a line before each longer piece of work and after each row.</param>
    /// <param name="cancel">Stops between two measurements.</param>
    /// <exception cref="ArgumentException">The options are impossible; see <see cref="BenchmarkOptions.Check"/>.</exception>
    public static BenchmarkReport Run(BenchmarkOptions options, Action<string> progress, CancellationToken cancel = default)
    {
        options.Check();
        var rates = RateMeasurement.Measure(options, progress, cancel);
        var writer = new RowWriter(options, progress);
        TorchRuntime.TrimMemory();

        // The smaller model first: the peak of memory never falls again.
        if (options.Vae is { } vae)
        {
            new VaeBenchmark(options, vae, rates, writer).Run(progress, cancel);
            TorchRuntime.TrimMemory();
        }

        if (options.Transformer is { } transformer)
        {
            new DitBenchmark(options, transformer, rates, writer).Run(progress, cancel);
            TorchRuntime.TrimMemory();
        }

        if (options.Video is { } video)
        {
            new VideoBenchmark(options, video, rates, writer).Run(progress, cancel);
            TorchRuntime.TrimMemory();
        }

        return new BenchmarkReport(options.Device.ToString(), TorchRuntime.Threads, TorchRuntime.Version, options.Runs, rates, writer.Rows);
    }
}
