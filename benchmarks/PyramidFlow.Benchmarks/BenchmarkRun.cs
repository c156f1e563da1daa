using PyramidFlow.Torch;

namespace PyramidFlow.Benchmarks;

/// <summary>Measures models of real size with random weights on one device.</summary>
public static class BenchmarkRun
{
    /// <summary>Measures the machine's rates, then the VAE, text encoders, the transformer, its training and a whole video, as far as asked for.</summary>
    /// <param name="options">What to measure.</param>
    /// <param name="progress">Takes a line before each longer piece of work and after each row.</param>
    /// <param name="cancel">Stops between two measurements.</param>
    /// <exception cref="ArgumentException">The options are impossible; see <see cref="BenchmarkOptions.Check"/>.</exception>
    public static BenchmarkReport Run(BenchmarkOptions options, Action<string> progress, CancellationToken cancel = default)
    {
        options.Check();
        var rates = RateMeasurement.Measure(options, progress, cancel);
        var writer = new RowWriter(options.Device, progress);
        if (options.Vae is { } vae)
            Each(() => new VaeBenchmark(options, vae, rates, writer).Run(progress, cancel));
        if (options.Text is { } text)
            Each(() => new TextBenchmark(options, text, rates, writer).Run(progress, cancel));
        if (options.Transformer is { } transformer)
            Each(() => new DitBenchmark(options, transformer, writer).Run(progress, cancel));
        if (options.Training is { } training)
            Each(() => TrainBenchmark.Run(options, training, writer, progress, cancel));
        if (options.Video is { } video)
            Each(() => new VideoBenchmark(options, video, rates, writer).Run(progress, cancel));
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
