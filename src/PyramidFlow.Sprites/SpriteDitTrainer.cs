using System.Globalization;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Sprites;

/// <summary>Trains the diffusion transformer, or a LoRA of it, on latents of the sprites world.</summary>
internal sealed class SpriteDitTrainer : ITraining, IDisposable
{
    private readonly SpriteDitConfig config;
    private readonly SpriteLatents data;
    private readonly PromptEncoder prompts;
    private readonly TrainedTransformer transformer;
    private readonly TransformerSamples? samples;
    private readonly ClipObjective objective;
    private readonly Distiller? distiller;
    private readonly SpriteHeldOut? measured;
    private readonly RunFolder folder;
    private readonly TrainingLoop loop;

    /// <summary>Creates a run, or resumes the one in the folder.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="data">Latents and attributes of the clips.</param>
    /// <param name="prompts">Frozen text encoders.</param>
    /// <param name="start">Opens the initial weights of a new run; null, or a null result, draws them from the seed.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <param name="samples">Generates samples; null generates none. The caller keeps ownership.</param>
    /// <param name="heldOut">Clips that are measured and not trained on; null measures none. The caller keeps ownership.</param>
    /// <param name="teacher">The teacher of a distillation; null has none.</param>
    /// <exception cref="TrainingException">A batch cannot be divided among all workers of all processes.</exception>
    public SpriteDitTrainer(SpriteDitConfig config, string folder, SpriteLatents data, PromptEncoder prompts, Func<StateSource?>? start = null,
        ProcessGroup? group = null, TransformerSamples? samples = null, SpriteLatents? heldOut = null, Teacher? teacher = null)
    {
        if (group is not null && config.Batch.Any(size => size % (config.Workers * group.WorldSize) != 0))
            throw TrainingFault.BatchNotSharedByProcesses(config.Batch, config.Workers, group.WorldSize);
        this.folder = new RunFolder(folder);
        config = config.GoingOn(this.folder) with { HeldOut = heldOut?.Count ?? 0 };
        (this.config, this.data, this.prompts, this.samples) = (config, data, prompts, samples);
        objective = new ClipObjective(config.Objective, config.CorruptRatio);
        using (var weights = this.folder.LatestState is null || config.Lora is not null ? start?.Invoke() : null)
        {
            transformer = new TrainedTransformer(config, config.Transformer, config.Lora, weights, Device.Cpu,
                new PartOptions { Group = group, TakesMuon = config.Optimizer == SpriteOptimizer.Muon ? IsHidden : null });
        }

        if (config.Distill is { } distill && teacher is not null)
            distiller = new Distiller(distill, config.Steps, teacher, transformer, objective.Scheduler, text => Condition(prompts.Encode([text])));
        measured = heldOut is null ? null : new SpriteHeldOut(config, heldOut, objective, prompts, transformer, distiller);
        loop = new TrainingLoop(config, this, this.folder, group);
    }

    /// <inheritdoc/>
    public string Identity => IdentityWith(distiller?.Identity);

    /// <inheritdoc/>
    public string EarlierIdentity => IdentityWith(distiller?.EarlierIdentity);

    /// <summary>Called by rank zero once the folder is its own.</summary>
    internal Action OnBegin { get; init; } = () => { };

    /// <inheritdoc/>
    public void BeginRun() => OnBegin();

    /// <inheritdoc/>
    public IReadOnlyList<TrainingPart> Parts => [transformer.Part];

    /// <inheritdoc/>
    public IReadOnlyList<(string Key, Tensor Tensor)> Buffers => distiller?.Buffers ?? [];

    /// <inheritdoc/>
    public TrainingData Data => new(data.Count, 0, FormattableString.Invariant($"{data.Frames} latent frames"), "", $"[{string.Join(", ", config.Batch)}]", config.Batch.Sum())
    {
        HeldOut = HeldOut?.Count ?? 0,
    };

    /// <inheritdoc/>
    public HeldOutItems? HeldOut => measured?.Items;

    private Workers<PyramidTransformer> Workers => transformer.Workers;

    private string IdentityWith(string? distilled) =>
        $"dit seed {config.Seed} {transformer.Identity}{(config.Objective == SpriteObjective.Pyramid ? "" : " full_sequence")}{(distilled is null ? "" : $" {distilled}")}";

    /// <summary>
    /// Trains to the last step, or until cancelled after the current step; in both cases saves the state, and writes the EMA to
    /// <c>diffusion_transformer</c> in the folder, or to <c>lora.safetensors</c> for a LoRA.
    /// </summary>
    public void Run(IProgress<TrainingProgress>? progress, CancellationToken cancellationToken) => loop.Run(progress, cancellationToken);

    /// <inheritdoc/>
    public BatchLosses Backward(MicroBatch batch)
    {
        distiller?.Begin(batch.Step);
        var shares = Workers.Run((worker, model) => Gradients(batch, worker, model));
        return BatchLosses.Mean(shares);
    }

    /// <inheritdoc/>
    public IEnumerable<(string Key, Tensor Tensor)> Inputs(MicroBatch batch)
    {
        for (var worker = 0; worker < Workers.Count; worker++)
        {
            foreach (var (number, part) in StageBatches(batch, worker, Workers.Model).Index())
            {
                foreach (var (key, tensor) in part.Inputs.Named().Append(("text", part.Text.Tokens)).Append(("pooled", part.Text.Pooled)))
                    yield return ($"worker_{worker}.batch_{number}.stage_{part.Stage}.{key}", tensor);
            }
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<(string Name, double Value)> Publish()
    {
        PublishTo(folder);
        if (config.KeepSteps.Contains((int)loop.Step))
            transformer.Write(folder.File(KeptWeights.FileName(loop.Step)));
        return [];
    }

    /// <inheritdoc/>
    public void PublishBest(RunFolder best) => PublishTo(best);

    /// <inheritdoc/>
    public bool Sample(string path, CancellationToken cancellationToken) => transformer.Sample(samples, path, cancellationToken);

    /// <inheritdoc/>
    public void Dispose()
    {
        distiller?.Dispose();
        transformer.Dispose();
    }

    private void PublishTo(RunFolder target)
    {
        if (config.Lora is null)
            transformer.Publish(target, ConfigFile.WithClass(config.Transformer.ClassName, config.Transformer.ToJson()), distiller?.Settings ?? SpriteTraining.SettingsOf(config));
        else
            transformer.Write(target.File(LoraFile.Name));
    }

    // One worker's share of the batch of every stage; the gradients stay in its model.
    private BatchLosses Gradients(MicroBatch batch, int worker, PyramidTransformer model)
    {
        var losses = new double[objective.Stages];
        var (tokens, flops) = (0L, 0L);
        foreach (var (stage, share, inputs, text) in StageBatches(batch, worker, model))
        {
            using var scope = new TensorScope();
            losses[stage] += share * FlowStep.Backward(model, inputs, text, batch.Scale * share / Workers.Count).Mean().Item();
            tokens += inputs.Tokens;
            flops += config.Lora is null ? FlowStep.Flops(model.Config, inputs, text.Mask, distiller?.TeacherPasses ?? 0) : 0;
        }

        return new BatchLosses(losses.Average(), [.. losses.Select((loss, stage) => ($"loss_{stage}", loss))], tokens) { Flops = flops };
    }

    // The batches of a worker, one or more of every stage; the shares of those of a stage add up to 1. Each lives until the next one is asked for.
    private IEnumerable<(int Stage, double Share, FlowBatch Inputs, TextCondition Text)> StageBatches(MicroBatch batch, int worker, PyramidTransformer model)
    {
        var workers = Workers.Count * batch.Ranks;
        KeyedRandom Random(int purpose) => new(config.Seed, stream: 300 + (purpose * workers) + batch.Share(worker, Workers.Count), batch.Number);
        var random = Random(objective.Stages);
        if (distiller?.IsOwn(random.NextSingle()) == true)
        {
            foreach (var own in OwnBatches(distiller, random, model, [.. config.Batch.Select(rows => rows / workers)], batch.Step < config.ImageSteps ? 1 : data.Frames))
                yield return own;
            yield break;
        }

        using var generator = batch.Draws(worker, Workers.Count);
        var draws = new GeneratorDraws(generator);
        for (var stage = 0; stage < objective.Stages; stage++)
        {
            using var scope = new TensorScope();
            var (inputs, text) = Draw(Random(stage), config.Batch[stage] / workers, stage, batch.Step < config.ImageSteps, draws);
            yield return (stage, 1, inputs, text);
        }
    }

    private (FlowBatch Inputs, TextCondition Text) Draw(KeyedRandom random, int rows, int stage, bool isImage, ITrainingDraws draws)
    {
        var image = isImage || random.NextSingle() < config.ImageShare;
        var (latents, attributes) = data.Draw(random, rows, image ? 1 : objective.Frames(random, data.Frames));
        var text = Text(attributes, random);
        var inputs = objective.Draw(latents, stage, draws, distiller?.Steps);
        return (distiller?.Teach(inputs, text) ?? inputs, text);
    }

    // The student makes few clips and learns from many of their units, of which the first counts as images do among the data.
    private IEnumerable<(int Stage, double Share, FlowBatch Inputs, TextCondition Text)> OwnBatches(Distiller teaching, KeyedRandom random, PyramidTransformer model, int[] rows, int frames)
    {
        using var scope = new TensorScope();
        var count = (rows.Max() + frames - 1) / frames;
        var (latents, attributes) = data.Draw(random, count, frames);
        var text = Text(attributes, random);
        using var clips = teaching.Clips(model, new ClipBatchSize(count, frames, latents.Size(3), latents.Size(4)), text, 1, random.NextUInt64());
        for (var stage = 0; stage < rows.Length; stage++)
        {
            int[] later = [.. Enumerable.Range(1, frames - 1).OrderBy(_ => random.NextSingle()).Take(Math.Max(1, (rows[stage] / count) - 1))];
            foreach (var unit in later.Prepend(0))
            {
                using var inner = new TensorScope();
                var share = later.Length == 0 ? 1 : unit == 0 ? config.ImageShare : (1 - config.ImageShare) / later.Length;
                yield return (stage, share, teaching.Teach(FlowBatch.Of([clips.At(unit, stage, random.NextSingle())]), text), text);
            }
        }
    }

    // Muon updates the matrices inside the blocks; AdamW updates embeddings, modulation and output layer.
    private static bool IsHidden(string key) =>
        key.Contains("transformer_blocks.", StringComparison.Ordinal) && !key.Contains("norm", StringComparison.Ordinal);

    private TextCondition Text(SpriteAttributes[] attributes, KeyedRandom random)
    {
        using var noGrad = NoGrad.Begin();
        var captions = attributes.Select(a =>
        {
            var caption = SpriteCaptions.Caption(a, random);
            return random.NextSingle() < config.TextDrop ? "" : caption;
        }).ToArray();
        return Condition(prompts.Encode(captions));
    }

    private static TextCondition Condition(PromptFeatures features) => new(features.Tokens, TextMask.OfLengths(features.Lengths), features.Pooled);
}

/// <summary>Training objective for clips, one batch per stage.</summary>
internal sealed class ClipObjective
{
    private readonly FlowObjective flow;
    private readonly bool whole;

    /// <summary>Creates an objective.</summary>
    /// <param name="kind">The objective.</param>
    /// <param name="corruptRatio">Largest share of noise in the corrupted history, if there is one.</param>
    internal ClipObjective(SpriteObjective kind, double corruptRatio)
    {
        whole = kind == SpriteObjective.FullSequence;
        Stages = StagesOf(kind);
        Scheduler = whole ? PyramidFlowScheduler.OfStages(1) : new PyramidFlowScheduler();
        flow = new FlowObjective(Scheduler, new ObjectiveOptions { SampleRatios = [.. Enumerable.Repeat(1, Stages)], CorruptRatio = corruptRatio });
    }

    /// <summary>Stage windows and tables.</summary>
    internal PyramidFlowScheduler Scheduler { get; }

    /// <summary>Number of trained stages.</summary>
    internal int Stages { get; }

    /// <summary>Number of stages of an objective.</summary>
    internal static int StagesOf(SpriteObjective kind) => kind == SpriteObjective.FullSequence ? 1 : 3;

    /// <summary>Number of frames of the clips in a batch: all for whole sequences, otherwise drawn from 2 up.</summary>
    /// <param name="random">Random numbers.</param>
    /// <param name="longest">Latent frames of a clip.</param>
    internal int Frames(KeyedRandom random, int longest) => whole ? longest : 2 + random.NextInt(longest - 1);

    /// <summary>Creates inputs and targets of one stage.</summary>
    /// <param name="latents">Clean latents, [b, c, t, h, w].</param>
    /// <param name="stage">Stage, 0 is the lowest resolution.</param>
    /// <param name="draws">Source of all random draws.</param>
    /// <param name="steps">Steps of the stage whose beginnings are trained; null trains the whole stage.</param>
    internal FlowBatch Draw(Tensor latents, int stage, ITrainingDraws draws, int? steps = null) =>
        whole ? flow.Draw(latents, null, draws, steps) : flow.DrawStage(latents, stage, draws, steps);
}

/// <summary>EMA weights that a transformer's run kept at a step.</summary>
/// <param name="Step">Number of completed steps.</param>
/// <param name="File">Name of the file in the run folder.</param>
/// <param name="Flops">Operations of the matrix products of all steps so far; see <see cref="PyramidFlow.Models.DitFlops"/>.</param>
internal sealed record KeptWeights(long Step, string File, double Flops)
{
    private const string Prefix = "dit-", End = ".safetensors";

    /// <summary>Name of the file of a step.</summary>
    public static string FileName(long step) => FormattableString.Invariant($"{Prefix}{step}{End}");

    /// <summary>Finds the kept weights of a run, in order.</summary>
    /// <param name="run">Folder of the transformer's run.</param>
    /// <exception cref="TrainingException">The folder is not one of a transformer's run.</exception>
    public static IReadOnlyList<KeptWeights> Find(string run)
    {
        var metrics = MetricsFile.Read(Path.Combine(run, "metrics.jsonl"));
        return [.. Directory.GetFiles(run, Prefix + "*" + End).Select(file => Path.GetFileName(file))
            .Where(name => long.TryParse(Digits(name), NumberStyles.None, CultureInfo.InvariantCulture, out _))
            .Select(name => (Name: name, Step: long.Parse(Digits(name), CultureInfo.InvariantCulture)))
            .OrderBy(kept => kept.Step)
            .Select(kept => new KeptWeights(kept.Step, kept.Name, FlopsUpTo(metrics, kept.Step)))];
    }

    private static ReadOnlySpan<char> Digits(string name) => name.AsSpan()[Prefix.Length..^End.Length];

    private static double FlopsUpTo(IEnumerable<IReadOnlyDictionary<string, double>> metrics, long step) =>
        metrics.Where(line => line["step"] <= step).Sum(line => line.GetValueOrDefault("flops"));
}
