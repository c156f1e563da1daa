using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Benchmarks;

/// <summary>
/// Single denoising steps of the transformer at every stage, with guidance: rows without and with the prompt. Shares are of the
/// median rate of matrix products measured before each run.
/// </summary>
internal sealed class DitBenchmark
{
    private const int Rows = 2, LatentScale = 8;
    private const string Step = "transformer step", CachedStep = "transformer step with history cache";

    // As many text tokens as the released system gives, and a shorter negative prompt.
    private const int TextLength = 128, NegativeLength = 64;

    private readonly BenchmarkOptions options;
    private readonly ITransformerConfig config;
    private readonly RowWriter writer;
    private readonly string suffix;

    internal DitBenchmark(BenchmarkOptions options, ITransformerConfig config, RowWriter writer)
    {
        (this.options, this.config, this.writer) = (options, config, writer);
        var blocks = ReleasedModels.IsWhole(config) ? "" : $", only {config.Blocks} blocks";
        suffix = $"{options.Size.Width}x{options.Size.Height}{blocks}";
    }

    internal void Run(Action<string> progress, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(2);
        using var scope = new TensorScope();
        using var model = config.Build();
        progress($"filling {model.ParameterCount()} weights of the transformer");
        RandomWeights.Fill(model, writer.Type, options.Device);

        var text = new TextCondition(Tensor.Randn([Rows, TextLength, config.JointAttentionDim], generator).To(options.Device),
            TextMask.OfLengths([NegativeLength, TextLength]), Tensor.Randn([Rows, config.PooledProjectionDim], generator).To(options.Device));
        var latents = Tensor.Randn([Rows, config.LatentChannels, Math.Max(1, options.Units.Max()), options.Size.Height / LatentScale,
            options.Size.Width / LatentScale], generator).To(writer.Type).To(options.Device);
        var pyramid = LatentPyramid.Build(latents, BenchmarkOptions.Stages);
        progress("one step to warm up");
        Measure(model, text, pyramid, options.Units[0], 0);
        foreach (var unit in options.Units)
        {
            for (var stage = 0; stage < BenchmarkOptions.Stages; stage++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress($"transformer, unit {unit}, stage {stage}");
                writer.EndGroup();
                Report(model, text, pyramid, unit, stage, cancellationToken);
            }
        }
    }

    private void Report(PyramidTransformer model, TextCondition text, Tensor[] pyramid, int number, int stage, CancellationToken cancellationToken)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(4);
        var times = new List<(double Prefix, double Continued, double Unit)>();
        var rates = new List<double>();
        for (var run = 0; run < options.Runs; run++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            rates.Add(RateMeasurement.Gemm(options.Rates, writer.Type, generator, options.Device));
            writer.EndGroup();
            times.Add(Measure(model, text, pyramid, number, stage));
        }

        // Paired with the runs: a machine's speed drifts within minutes.
        var rate = Timing.Median(rates);

        var clips = History(pyramid, number, stage).Append(Noisy(pyramid, stage)).Select(ClipSize.Of);
        using var layout = model.Layout([.. clips], text.Mask);
        if (number == 0)
        {
            Add("step", times.Select(t => t.Unit), DitFlops.Joint(config, layout.Shape), Step);
            return;
        }

        var (prefix, unit) = (DitFlops.Prefix(config, layout.Shape), DitFlops.Unit(config, layout.Shape));
        Add("prefix pass", times.Select(t => t.Prefix), prefix);
        Add("unit pass", times.Select(t => t.Unit), unit);
        Add("step (prefix + unit)", times.Select(t => t.Prefix + t.Unit), prefix + unit, Step);
        if (Held(number, stage) is > 0 and var held)
        {
            var continued = DitFlops.Prefix(config, layout.Shape, held);
            Add("continued prefix pass", times.Select(t => t.Continued), continued);
            Add("step (continued prefix + unit)", times.Select(t => t.Continued + t.Unit), continued + unit, CachedStep);
        }

        void Add(string part, IEnumerable<double> seconds, long flops, string? kind = null) =>
            writer.Add($"transformer {part}, {suffix}", Timing.Median(seconds), flops, rate, stage, number, kind);
    }

    // One step as a pipeline does it, without and with the history that the unit before has left. The first unit has no history, so there its one pass counts as the unit's.
    private (double Prefix, double Continued, double Unit) Measure(PyramidTransformer model, TextCondition text, Tensor[] pyramid, int number, int stage)
    {
        using var scope = new TensorScope();
        var (history, noisy) = (History(pyramid, number, stage), Noisy(pyramid, stage));
        if (number == 0)
        {
            var timesteps = Tensor.Full([Rows], 500, writer.Type, options.Device);
            return (0, 0, Timing.Once(options.Device, () => model.Forward([[noisy]], text, timesteps)));
        }

        var unit = ClipSize.Of(noisy);
        var timestep = Tensor.Full([1], 500, writer.Type, options.Device);
        PrefixCache? prefix = null;
        try
        {
            var continued = 0.0;
            if (Held(number, stage) is > 0 and var held)
            {
                using var buffer = new HistoryBuffer(1, Rows, TextLength + ((held + 1) * ClipSize.Of(history[0]).FrameTokens));
                model.ComputePrefix(History(pyramid, number - 1, stage), unit, text, timestep, kept: new HistorySlice(buffer, 0, held)).Dispose();
                continued = Timing.Once(options.Device, () => prefix = model.ComputePrefix(history, unit, text, timestep, kept: new HistorySlice(buffer, 0, held + 1)));
                prefix!.Dispose();
            }

            var before = Timing.Once(options.Device, () => prefix = model.ComputePrefix(history, unit, text, timestep));
            return (before, continued, Timing.Once(options.Device, () => model.ForwardUnit(noisy, 0, prefix!)));
        }
        finally
        {
            prefix?.Dispose();
        }
    }

    // Frames that the unit before leaves at the lowest resolution.
    private static long Held(int number, int stage) => LatentPyramid.FinalFrames(number - 1, stage, framesPerUnit: 1);

    private List<Tensor> History(Tensor[] pyramid, int number, int stage) =>
        number == 0 ? [] : LatentPyramid.History(pyramid, number, stage, framesPerUnit: 1);

    private static Tensor Noisy(Tensor[] pyramid, int stage) => pyramid[stage].Narrow(2, 0, 1);
}
