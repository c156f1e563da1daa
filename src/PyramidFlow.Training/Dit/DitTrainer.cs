using PyramidFlow.Models.Lora;
using PyramidFlow.Models.Text;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Models;

namespace PyramidFlow.Training.Dit;

/// <summary>Trains the diffusion transformer, or a LoRA of it, on latents of the sprites world.</summary>
public sealed class DitTrainer : ITraining, IDisposable
{
    private readonly DitTrainingConfig config;
    private readonly SpriteLatents data;
    private readonly PromptEncoder prompts;
    private readonly TrainedTransformer transformer;
    private readonly TransformerSamples? samples;
    private readonly ClipObjective objective;
    private readonly RunFolder folder;
    private readonly TrainingLoop loop;

    /// <summary>Prepares a run, or takes up the one in the folder.</summary>
    /// <param name="config">What to train.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="data">Latents and what they show.</param>
    /// <param name="prompts">Frozen text encoders.</param>
    /// <param name="start">Opens the weights a new run starts from; null, or what gives null, draws them from the seed.</param>
    /// <param name="group">The processes that train together, or null for one.</param>
    /// <param name="samples">Makes what is looked at now and then; null is nothing. Stays the caller's.</param>
    /// <exception cref="ArgumentException">A batch cannot be shared by all workers of all processes.</exception>
    public DitTrainer(DitTrainingConfig config, string folder, SpriteLatents data, PromptEncoder prompts, Func<StateSource?>? start = null,
        ProcessGroup? group = null, TransformerSamples? samples = null)
    {
        if (group is not null && config.Batch.Any(size => size % (config.Workers * group.WorldSize) != 0))
            throw new ArgumentException($"batch [{string.Join(", ", config.Batch)}] cannot be shared by {config.Workers} workers of {group.WorldSize} processes: use multiples");
        (this.config, this.data, this.prompts, this.samples) = (config, data, prompts, samples);
        objective = new ClipObjective(config.Objective, config.CorruptRatio);
        this.folder = new RunFolder(folder);
        using (var weights = this.folder.LatestState is null || config.Lora is not null ? start?.Invoke() : null)
        {
            transformer = new TrainedTransformer(config, config.Transformer, config.Lora, weights, Device.Cpu,
                new PartOptions { TakesMuon = config.Optimizer == DitOptimizer.Muon ? IsHidden : null });
        }

        loop = new TrainingLoop(config, this, this.folder, group);
    }

    /// <inheritdoc/>
    public string Identity => $"dit seed {config.Seed} {transformer.Identity}{(config.Objective == DitObjective.Pyramid ? "" : " full_sequence")}";

    /// <inheritdoc/>
    public IReadOnlyList<TrainingPart> Parts => [transformer.Part];

    private Workers<PyramidTransformer> Workers => transformer.Workers;

    /// <summary>
    /// Trains to the end, or until cancelled after the running step; either way the state is saved and the averaged
    /// weights lie in <c>dit.safetensors</c> of the folder, a LoRA's in <c>lora.safetensors</c>.
    /// </summary>
    public void Run(IProgress<TrainingProgress>? progress, CancellationToken cancel) => loop.Run(progress, cancel);

    /// <inheritdoc/>
    public BatchLosses Backward(MicroBatch batch)
    {
        var shares = Workers.Run((worker, model) => Gradients(batch, worker, model));
        return BatchLosses.Mean(shares);
    }

    /// <inheritdoc/>
    public IEnumerable<(string Key, Tensor Tensor)> Inputs(MicroBatch batch)
    {
        for (var worker = 0; worker < Workers.Count; worker++)
        {
            using var draws = batch.Draws(worker, Workers.Count);
            for (var stage = 0; stage < objective.Stages; stage++)
            {
                var (inputs, text) = Draw(batch, worker, stage, new GeneratorDraws(draws));
                foreach (var (key, tensor) in inputs.Named().Append(("text", text.Tokens)).Append(("pooled", text.Pooled)))
                    yield return ($"worker_{worker}.stage_{stage}.{key}", tensor);
            }
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<(string Name, double Value)> Publish()
    {
        transformer.Write(folder.File(config.Lora is null ? "dit.safetensors" : LoraFile.Name));
        if (config.KeepSteps.Contains((int)loop.Step))
            transformer.Write(folder.File(KeptWeights.NameOf(loop.Step)));
        return [];
    }

    /// <inheritdoc/>
    public bool Sample(string path, CancellationToken cancel) => transformer.Sample(samples, path, cancel);

    /// <inheritdoc/>
    public void Dispose() => transformer.Dispose();

    // One worker's part of every stage's batch; gradients stay in its model.
    private BatchLosses Gradients(MicroBatch batch, int worker, PyramidTransformer model)
    {
        var losses = new double[objective.Stages];
        var (tokens, flops) = (0L, 0L);
        using var draws = batch.Draws(worker, Workers.Count);
        for (var stage = 0; stage < losses.Length; stage++)
        {
            using var scope = new TensorScope();
            var (inputs, text) = Draw(batch, worker, stage, new GeneratorDraws(draws));
            losses[stage] = FlowStep.Backward(model, inputs, text, batch.Scale / Workers.Count).Mean().Item();
            tokens += inputs.Tokens;
            flops += config.Lora is null ? FlowStep.Flops(model.Config, inputs, text.Mask) : 0;
        }

        return new BatchLosses(losses.Average(), [.. losses.Select((loss, stage) => ($"loss_{stage}", loss))], tokens) { Flops = flops };
    }

    private (FlowBatch Inputs, TextCondition Text) Draw(MicroBatch batch, int worker, int stage, ITrainingDraws draws)
    {
        var share = batch.Share(worker, Workers.Count);
        var shares = Workers.Count * batch.Ranks;
        var random = new SpriteRandom(config.Seed, stream: 300 + (stage * shares) + share, batch.Number);
        var image = batch.Step < config.ImageSteps || random.NextSingle() < config.ImageShare;
        var frames = image ? 1 : objective.Frames(random, data.Frames);
        var (latents, attributes) = data.Draw(random, config.Batch[stage] / shares, frames);
        var text = Text(attributes, random);
        return (objective.Draw(latents, stage, draws), text);
    }

    // The matrices inside the blocks; embeddings, modulation and the read-out are left to AdamW.
    private static bool IsHidden(string key) =>
        key.Contains("transformer_blocks.", StringComparison.Ordinal) && !key.Contains("norm", StringComparison.Ordinal);

    private TextCondition Text(SpriteAttributes[] attributes, SpriteRandom random)
    {
        using var noGrad = NoGrad.Begin();
        var captions = attributes.Select(a =>
        {
            var caption = SpriteCaptions.Caption(a, random);
            return random.NextSingle() < config.TextDrop ? "" : caption;
        }).ToArray();
        var features = prompts.Encode(captions);
        return new TextCondition(features.Tokens, TextMask.OfLengths(features.Lengths), features.Pooled);
    }
}
