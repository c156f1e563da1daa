using System.Globalization;
using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Cli.Benchmarks;

/// <summary>
/// Steps of the real training over a batch of random latents and text: forward, backward, clipping, AdamW and the running average.
/// Shares are of the median rate of matrix products of the trained transformer's width, measured before each step.
/// </summary>
internal sealed class TrainBenchmark : ITraining, IDisposable
{
    private const int LatentScale = 8;

    private readonly BenchmarkOptions options;
    private readonly TrainingToMeasure what;
    private readonly Settings settings;
    private readonly TrainedTransformer transformer;
    private readonly FlowObjective objective = new(new PyramidFlowScheduler(), new ObjectiveOptions());
    private readonly Tensor latents;
    private readonly TextCondition text;

    private TrainBenchmark(BenchmarkOptions options, TrainingToMeasure what, ElementType type)
    {
        (this.options, this.what) = (options, what);
        settings = new Settings { Precision = type == ElementType.BFloat16 ? TrainingPrecision.Bfloat16 : TrainingPrecision.Float32 };
        transformer = new TrainedTransformer(settings, what.Transformer, null, null, options.Device);
        using var generator = new RandomGenerator(5);
        var network = what.Transformer;
        latents = Random(what.Clips, network.LatentChannels, what.Units, options.TrainingSize.Height / LatentScale, options.TrainingSize.Width / LatentScale);
        text = new TextCondition(Random(what.Clips, PromptEncoder.MaxTokens, network.JointAttentionDim),
            TextMask.OfLengths([.. Enumerable.Repeat(PromptEncoder.MaxTokens, what.Clips)]), Random(what.Clips, network.PooledProjectionDim));

        Tensor Random(params long[] shape) => Tensor.Randn(shape, generator).To(options.Device);
    }

    /// <inheritdoc/>
    public string Identity => transformer.Identity;

    /// <inheritdoc/>
    public IReadOnlyList<TrainingPart> Parts => [transformer.Part];

    private double Seconds { get; set; }

    internal static void Run(BenchmarkOptions options, TrainingToMeasure what, RowWriter writer, Action<string> progress, CancellationToken cancellationToken)
    {
        using var scope = new TensorScope();
        var folder = Directory.CreateTempSubdirectory("pyramidflow-bench-");
        try
        {
            progress("drawing the weights of the transformer to train");
            using var training = new TrainBenchmark(options, what, writer.Type);
            training.Measure(new RunFolder(folder.FullName), writer, progress, cancellationToken);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <inheritdoc/>
    public BatchLosses Backward(MicroBatch batch)
    {
        BatchLosses? losses = null;
        Seconds = Timing.Once(options.Device, () => losses = transformer.Workers.Run((worker, model) => Gradients(batch, worker, model))[0]);
        return losses!;
    }

    /// <inheritdoc/>
    public IEnumerable<(string Key, Tensor Tensor)> Inputs(MicroBatch batch) => Draw(batch, 0).Named();

    /// <inheritdoc/>
    public IReadOnlyList<(string Name, double Value)> Publish() => [];

    /// <inheritdoc/>
    public void Dispose() => transformer.Dispose();

    private void Measure(RunFolder folder, RowWriter writer, Action<string> progress, CancellationToken cancellationToken)
    {
        var state = new TrainingState(Parts, new SpikeGuard(0));
        var step = new TrainingStep(settings, this, folder, null);
        progress("one step to warm up");
        var flops = step.Take(state, cancellationToken).Losses.Flops;
        using var generator = new RandomGenerator(6);
        var sizes = options.Rates with { Dim = what.Transformer.Dim };
        var (rates, gradients, steps) = (new List<double>(), new List<double>(), new List<double>());
        for (var run = 0; run < options.Runs; run++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            rates.Add(RateMeasurement.Gemm(sizes, writer.Type, generator, options.Device));
            writer.EndGroup();
            steps.Add(Timing.Once(options.Device, () => step.Take(state, CancellationToken.None)));
            gradients.Add(Seconds);
        }

        // Measured between the steps: a machine's speed drifts within minutes.
        var rate = Timing.Median(rates);
        var millions = (transformer.Workers.Model.ParameterCount() / 1e6).ToString("0", CultureInfo.InvariantCulture);
        var size = $"{what.Clips} clips of {what.Units} units, {options.TrainingSize.Width}x{options.TrainingSize.Height}, {millions}M weights";
        writer.Add($"training: forward and backward, {size}", Timing.Median(gradients), flops, rate);
        writer.Add($"training step, {size}", Timing.Median(steps), flops, rate, kind: "training step");
    }

    private BatchLosses Gradients(MicroBatch batch, int worker, PyramidTransformer model)
    {
        using var scope = new TensorScope();
        var inputs = Draw(batch, worker);
        var losses = FlowStep.Backward(model, inputs, text, batch.Scale);
        return new BatchLosses(losses.Mean().Item(), [], inputs.Tokens) { Flops = FlowStep.Flops(model.Config, inputs, text.Mask) };
    }

    private FlowBatch Draw(MicroBatch batch, int worker)
    {
        using var generator = batch.Draws(worker);
        return objective.Draw(latents, [what.Units, what.Units, what.Units], new GeneratorDraws(generator));
    }

    // As the released runs train, one worker.
    private sealed record Settings : LoopConfig;
}
