using PyramidFlow.Models.Lora;
using PyramidFlow.Scheduling;
using PyramidFlow.Models.Text;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Loop;
using PyramidFlow.Models;

namespace PyramidFlow.Training.Dit;

/// <summary>
/// Trains a diffusion transformer of either family, or a LoRA of one, on data of one's own, as the released ones were: a batch is dealt to the
/// stages, and all go through the transformer together.
/// </summary>
internal sealed class DitDataTrainer : ITraining, IDisposable
{
    private readonly DitDataConfig config;
    private readonly ComponentFolder component;
    private readonly DitItems items;
    private readonly DitDataModels models;
    private readonly TrainedTransformer transformer;
    private readonly PyramidFlowScheduler scheduler = new();
    private readonly FlowObjective objective;
    private readonly StageLengths lengths;
    private readonly RunFolder folder;
    private readonly TrainingLoop loop;

    /// <summary>Prepares a run, or takes up the one in the folder.</summary>
    /// <param name="config">What to train.</param>
    /// <param name="run">Folder of the run.</param>
    /// <param name="start">Model folder to start from.</param>
    /// <param name="items">The data; stays the caller's.</param>
    /// <param name="models">Frozen models; they stay the caller's.</param>
    /// <param name="group">The processes that train together, or null for one.</param>
    internal DitDataTrainer(DitDataConfig config, RunFolder run, CheckpointFolder start, DitItems items, DitDataModels models, ProcessGroup? group)
    {
        (this.config, this.items, this.models, folder) = (config, items, models, run);
        objective = new FlowObjective(scheduler, new ObjectiveOptions
        {
            SampleRatios = config.SampleRatios, CorruptRatio = config.CorruptRatio, FramesPerUnit = config.FramePerUnit,
        });
        lengths = new StageLengths { MaxTemporalLength = config.MaxTemporalLength, FramesPerUnit = config.FramePerUnit, SyncGroup = config.VideoSyncGroup };
        component = start.Transformer(config.Variant);
        using (var weights = config.FromScratch ? null : component.OpenWeights())
            transformer = new TrainedTransformer(config, TransformerConfigs.Load(component.ConfigFile), config.Lora, weights, models.Device);
        loop = new TrainingLoop(config, this, run, group);
    }

    /// <inheritdoc/>
    public string Identity => $"dit data seed {config.Seed} {config.Objective} {transformer.Identity}";

    /// <inheritdoc/>
    public IReadOnlyList<TrainingPart> Parts => [transformer.Part];

    private Workers<PyramidTransformer> Workers => transformer.Workers;

    /// <summary>Trains to the end, or until cancelled after the running step.</summary>
    internal void Run(IProgress<TrainingProgress>? progress, CancellationToken cancel) => loop.Run(progress, cancel);

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
        if (config.Lora is not null)
        {
            transformer.Write(folder.File(LoraFile.Name));
            return [];
        }

        var target = folder.File(CheckpointNames.Transformer);
        Directory.CreateDirectory(target);
        SpriteStart.CopyFile(component.ConfigFile, Path.Combine(target, ComponentFolder.ConfigName));
        transformer.Write(Path.Combine(target, "diffusion_pytorch_model.safetensors"));
        return [];
    }

    /// <inheritdoc/>
    public bool Sample(string path, CancellationToken cancel) => transformer.Sample(models.Samples, path, cancel);

    /// <inheritdoc/>
    public void Dispose() => transformer.Dispose();

    private BatchLosses Gradients(MicroBatch batch, DitItemBatch read, int worker, PyramidTransformer model)
    {
        using var scope = new TensorScope();
        var (inputs, text) = Draw(batch, read, worker);
        var losses = FlowStep.Backward(model, inputs, text, batch.Scale / Workers.Count).ToArray<float>();

        // Column after column; neighbouring columns may be of one stage.
        var rows = losses.Length / config.SampleRatios.Sum();
        var named = new List<(string, double)>();
        foreach (var (stage, ratio) in config.SampleRatios.Index().Where(pair => pair.Item > 0))
            named.Add(($"loss_{stage}", losses.Skip(rows * config.SampleRatios.Take(stage).Sum()).Take(rows * ratio).Average()));
        return new BatchLosses(losses.Average(), named, inputs.Tokens);
    }

    private (FlowBatch Inputs, TextCondition Text) Draw(MicroBatch batch, DitItemBatch read, int worker)
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
