using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Data;
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
    private readonly RunFolder folder;
    private readonly TrainingLoop loop;

    /// <summary>Creates a run, or resumes the one in the folder.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="run">Folder of the run.</param>
    /// <param name="start">Initial model.</param>
    /// <param name="items">The data; the caller keeps ownership.</param>
    /// <param name="models">Frozen models; the caller keeps ownership.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    internal DitTrainer(DitConfig config, RunFolder run, CheckpointFolder start, DitBatches items, FrozenModels models, ProcessGroup? group)
    {
        config = config.GoingOn(run);
        (this.config, this.items, this.models, folder) = (config, items, models, run);
        objective = new FlowObjective(scheduler, new ObjectiveOptions
        {
            SampleRatios = config.SampleRatios, CorruptRatio = config.CorruptRatio, FramesPerUnit = config.FramePerUnit,
        });
        lengths = new StageLengths { MaxTemporalLength = config.MaxTemporalLength, FramesPerUnit = config.FramePerUnit, SyncGroup = config.VideoSyncGroup };
        component = start.Transformer(config.Variant);
        using (var weights = config.FromScratch ? null : component.OpenWeights())
            transformer = new TrainedTransformer(config, TransformerConfigs.Load(component.ConfigFile), config.Lora, weights, models.Device, new PartOptions { Group = group });
        loop = new TrainingLoop(config, this, run, group);
    }

    /// <inheritdoc/>
    public string Identity => $"dit data seed {config.Seed} {config.Objective} {transformer.Identity}";

    /// <summary>Called with every checkpoint.</summary>
    internal Action OnPublish { get; init; } = () => { };

    /// <inheritdoc/>
    public TrainingPlan? Plan { get; init; }

    /// <inheritdoc/>
    public IReadOnlyList<TrainingPart> Parts => [transformer.Part];

    /// <inheritdoc/>
    public TrainingData Data => items.Plan.Describe(items.LeftOut, FormattableString.Invariant($"{config.Batch}"));

    private Workers<PyramidTransformer> Workers => transformer.Workers;

    /// <summary>Trains to the last step, or until cancelled after the current step.</summary>
    internal void Run(IProgress<TrainingProgress>? progress, CancellationToken cancellationToken) => loop.Run(progress, cancellationToken);

    /// <inheritdoc/>
    public BatchLosses Backward(MicroBatch batch)
    {
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
            var (inputs, text) = Draw(batch, read, worker);
            foreach (var (key, tensor) in inputs.Named().Append(("text", text.Tokens)).Append(("pooled", text.Pooled)))
                yield return ($"worker_{worker}.{key}", tensor);
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<(string Name, double Value)> Publish()
    {
        OnPublish();
        if (config.Lora is not null)
        {
            transformer.Write(folder.File(LoraFile.Name));
            return [];
        }

        transformer.Publish(folder, File.ReadAllText(component.ConfigFile), models.Settings);
        return [];
    }

    /// <inheritdoc/>
    public bool Sample(string path, CancellationToken cancellationToken) => transformer.Sample(models.Samples, path, cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => transformer.Dispose();

    private BatchLosses Gradients(MicroBatch batch, DitBatch read, int worker, PyramidTransformer model)
    {
        using var scope = new TensorScope();
        var (inputs, text) = Draw(batch, read, worker);
        var losses = FlowStep.Backward(model, inputs, text, batch.Scale / Workers.Count).ToArray<float>();

        // Losses are ordered column by column; neighbouring columns may belong to one stage.
        var rows = losses.Length / config.SampleRatios.Sum();
        var named = new List<(string, double)>();
        foreach (var (stage, ratio) in config.SampleRatios.Index().Where(pair => pair.Item > 0))
            named.Add(($"loss_{stage}", losses.Skip(rows * config.SampleRatios.Take(stage).Sum()).Take(rows * ratio).Average()));
        return new BatchLosses(losses.Average(), named, inputs.Tokens);
    }

    private (FlowBatch Inputs, TextCondition Text) Draw(MicroBatch batch, DitBatch read, int worker)
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
        return (objective.Draw(latents, units, draws), text);
    }
}

/// <summary>Items of one batch as they are read.</summary>
/// <param name="Content">Pixels in -1 to 1, [b, 3, 1 + 8n, 8h, 8w], or latents of the VAE, [b, c, 1 + n, h, w].</param>
/// <param name="ArePixels">Whether the content is pixels.</param>
/// <param name="Captions">Caption of each item.</param>
/// <param name="Text">Features of the captions if they are read, otherwise null.</param>
internal sealed record DitBatch(Tensor Content, bool ArePixels, IReadOnlyList<string> Captions, PromptFeatures? Text);

/// <summary>The batches of a transformer's training, from media or latents.</summary>
internal sealed class DitBatches : IDisposable
{
    private readonly IDisposable source;
    private readonly Func<long, DitBatch> batch;

    private DitBatches(IDisposable source, BatchPlan plan, FaultLog faults, Func<long, DitBatch> batch) =>
        (this.source, Plan, LeftOut, this.batch) = (source, plan, faults.Faults.Count, batch);

    /// <summary>The plan of all batches.</summary>
    internal BatchPlan Plan { get; }

    /// <summary>Number of items that the scan left out.</summary>
    internal int LeftOut { get; }

    /// <summary>Opens the data of a configuration.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="plan">Inputs of the batch plan.</param>
    /// <param name="channels">Channels of the latents.</param>
    /// <param name="faults">Records bad items.</param>
    /// <param name="cancellationToken">Cancels the scan and the wait for batches.</param>
    internal static DitBatches Open(DitConfig config, BatchPlanOptions plan, int channels, FaultLog faults, CancellationToken cancellationToken)
    {
        if (config.Input == DitInput.Media)
        {
            var clips = DataSources.OpenClipsAsync(config.Data, plan, captions: true, faults, null, cancellationToken).GetAwaiter().GetResult();
            return new DitBatches(clips, clips.Plan, faults, number =>
            {
                var read = clips.Batch(number, CancellationToken.None);
                return new DitBatch(read.Pixels(), true, read.Captions, null);
            });
        }

        var latents = DataSources.OpenLatentsAsync(config.Data, plan, config.Captions, channels, faults, null, cancellationToken).GetAwaiter().GetResult();
        return new DitBatches(latents, latents.Plan, faults, number =>
        {
            var read = latents.Batch(number, CancellationToken.None);
            return new DitBatch(read.Latents, false, read.Captions, read.Text);
        });
    }

    /// <summary>The batch with a number, in the caller's scope.</summary>
    internal DitBatch Batch(long number) => batch(number);

    /// <inheritdoc/>
    public void Dispose() => source.Dispose();
}
