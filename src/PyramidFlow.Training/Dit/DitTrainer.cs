using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Dit;

/// <summary>
/// Trains a diffusion transformer of any family, or a LoRA of it, on a data set, as the released models were trained: the rows of a batch
/// are distributed over the stages, and all pass through the transformer together.
/// </summary>
internal sealed class DitTrainer : ITraining, IDisposable
{
    private readonly DitConfig config;
    private readonly ComponentFolder component;
    private readonly DitBatches items;
    private readonly FrozenModels models;
    private readonly TrainedTransformer transformer;
    private readonly PyramidFlowScheduler scheduler = new();
    private readonly FlowObjective objective;
    private readonly StageLengths lengths;
    private readonly Distiller? distiller;
    private readonly DitHeldOut? measured;
    private readonly RunFolder folder;
    private readonly TrainingLoop loop;

    /// <summary>Creates a run, or resumes the one in the folder.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="run">Folder of the run.</param>
    /// <param name="start">Initial model.</param>
    /// <param name="items">The data; the caller keeps ownership.</param>
    /// <param name="models">Frozen models; the caller keeps ownership.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <param name="teacher">The teacher of a distillation; null has none.</param>
    internal DitTrainer(DitConfig config, RunFolder run, CheckpointFolder start, DitBatches items, FrozenModels models, ProcessGroup? group, Teacher? teacher = null)
    {
        config = config.GoingOn(run) with { HeldOut = items.HeldOut.Items.Count };
        (this.config, this.items, this.models, folder) = (config, items, models, run);
        objective = new FlowObjective(scheduler, new ObjectiveOptions
        {
            SampleRatios = config.SampleRatios, CorruptRatio = config.CorruptRatio, FramesPerUnit = config.FramePerUnit,
        });
        lengths = new StageLengths { MaxTemporalLength = config.MaxTemporalLength, FramesPerUnit = config.FramePerUnit, SyncGroup = config.LengthGroup };
        component = start.Transformer(config.Variant);
        using (var weights = config.FromScratch ? null : component.OpenWeights())
            transformer = new TrainedTransformer(config, TransformerConfigs.Load(component.ConfigFile), config.Lora, weights, models.Device, new PartOptions { Group = group });
        if (config.Distill is { } distill && teacher is not null)
            distiller = new Distiller(distill, config.Steps, teacher, transformer, scheduler, models.Negative);
        measured = items.HeldOut.Items.Count > 0 ? new DitHeldOut(config, scheduler, lengths, items, models, transformer, distiller) : null;
        loop = new TrainingLoop(config, this, run, group);
    }

    /// <inheritdoc/>
    public string Identity => IdentityWith(distiller?.Identity);

    /// <inheritdoc/>
    public string EarlierIdentity => IdentityWith(distiller?.EarlierIdentity);

    /// <summary>Called by rank zero once the folder is its own.</summary>
    internal Action OnBegin { get; init; } = () => { };

    /// <summary>Called with every checkpoint.</summary>
    internal Action OnPublish { get; init; } = () => { };

    /// <inheritdoc/>
    public TrainingPlan? Plan { get; init; }

    /// <inheritdoc/>
    public IReadOnlyList<TrainingPart> Parts => [transformer.Part];

    /// <inheritdoc/>
    public IReadOnlyList<(string Key, Tensor Tensor)> Buffers => distiller?.Buffers ?? [];

    /// <inheritdoc/>
    public TrainingData Data => items.Plan.Describe(items.LeftOut, FormattableString.Invariant($"{config.Batch}")) with { HeldOut = items.HeldOut.Items.Count };

    /// <inheritdoc/>
    public HeldOutItems? HeldOut => measured?.Items;

    private Workers<PyramidTransformer> Workers => transformer.Workers;

    private string IdentityWith(string? distilled) => $"dit data seed {config.Seed} {config.Objective} {transformer.Identity}{(distilled is null ? "" : $" {distilled}")}";

    /// <summary>Trains to the last step, or until cancelled after the current step.</summary>
    internal void Run(IProgress<TrainingProgress>? progress, CancellationToken cancellationToken) => loop.Run(progress, cancellationToken);

    /// <summary>Takes a few steps and measures them; saves nothing.</summary>
    internal void Probe(TrainingProbe probe, CancellationToken cancellationToken) => loop.Probe(probe, cancellationToken);

    /// <inheritdoc/>
    public void BeginRun() => OnBegin();

    /// <inheritdoc/>
    public BatchLosses Backward(MicroBatch batch)
    {
        distiller?.Begin(batch.Step);
        using var scope = new TensorScope();
        var read = items.Batch(batch.Number);
        return BatchLosses.Mean(Workers.Run((worker, model) => Gradients(batch, read, worker, model)));
    }

    /// <inheritdoc/>
    public IEnumerable<(string Key, Tensor Tensor)> Inputs(MicroBatch batch)
    {
        var read = items.Batch(batch.Number);
        yield return (read.ArePixels ? "pixels" : "latents", read.Content);
        for (var worker = 0; worker < Workers.Count; worker++)
        {
            var (inputs, text) = Draw(batch, read, worker, Workers.Model);
            foreach (var (key, tensor) in inputs.Named().Append(("text", text.Tokens)).Append(("pooled", text.Pooled)))
                yield return ($"worker_{worker}.{key}", tensor);
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<(string Name, double Value)> Publish()
    {
        OnPublish();
        PublishTo(folder);
        return [];
    }

    /// <inheritdoc/>
    public void PublishBest(RunFolder best) => PublishTo(best);

    /// <inheritdoc/>
    public bool Sample(string path, CancellationToken cancellationToken) => transformer.Sample(models.Samples, path, cancellationToken);

    /// <inheritdoc/>
    public void Dispose()
    {
        distiller?.Dispose();
        transformer.Dispose();
    }

    private void PublishTo(RunFolder target)
    {
        if (config.Lora is null)
            transformer.Publish(target, File.ReadAllText(component.ConfigFile), distiller?.Settings ?? models.Settings);
        else
            transformer.Write(target.File(LoraFile.Name));
    }

    private BatchLosses Gradients(MicroBatch batch, DitBatch read, int worker, PyramidTransformer model)
    {
        using var scope = new TensorScope();
        var (inputs, text) = Draw(batch, read, worker, model);
        var losses = FlowStep.Backward(model, inputs, text, batch.Scale / Workers.Count).ToArray<float>();

        // Losses are ordered column by column; neighbouring columns may belong to one stage.
        var rows = losses.Length / config.SampleRatios.Sum();
        var named = new List<(string, double)>();
        foreach (var (stage, ratio) in config.SampleRatios.Index().Where(pair => pair.Item > 0))
            named.Add(($"loss_{stage}", losses.Skip(rows * config.SampleRatios.Take(stage).Sum()).Take(rows * ratio).Average()));
        return new BatchLosses(losses.Average(), named, inputs.Tokens);
    }

    private (FlowBatch Inputs, TextCondition Text) Draw(MicroBatch batch, DitBatch read, int worker, PyramidTransformer model)
    {
        using var generator = batch.Draws(worker, Workers.Count);
        var draws = new GeneratorDraws(generator);
        var rows = config.Batch / Workers.Count;
        var first = worker * rows;
        var dropped = TextDrop.Choose(rows, config.TextDrop, draws);
        var features = read.Text is not { } all ? null : new PromptFeatures(all.Tokens.Narrow(0, first, rows), all.Lengths[first..(first + rows)], all.Pooled.Narrow(0, first, rows), []);
        var text = models.Text([.. read.Captions.Skip(first).Take(rows)], features, dropped);
        var latents = models.Latents(read.Content.Narrow(0, first, rows), read.ArePixels, draws);
        var units = config.Objective == TemporalObjective.Autoregressive
            ? lengths.At(batch.Number, scheduler.Stages.Count, batch.Rank, batch.Ranks, lengths.UnitsOf(latents.Size(2)))
            : null;
        if (distiller is null)
            return (objective.Draw(latents, units, draws), text);
        var (chosen, seed) = (draws.Uniform(1)[0], draws.Uniform(1)[0]);
        if (units is null || !distiller.IsOwn(chosen))
            return (distiller.Teach(objective.Draw(latents, units, draws, distiller.Steps), text), text);
        var size = new ClipBatchSize(rows, latents.Size(2), latents.Size(3), latents.Size(4));
        using var own = distiller.Clips(model, size, text, config.FramePerUnit, (ulong)(seed * (1L << 32)));
        return (distiller.Teach(objective.Deal((stage, start, every) => own.At(Math.Min(units[stage], own.Units) - 1, stage, draws.Uniform(1)[0], start, every)), text), text);
    }
}
