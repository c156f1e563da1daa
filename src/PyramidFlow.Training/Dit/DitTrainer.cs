using System.Diagnostics;
using PyramidFlow.Lora;
using PyramidFlow.Schedulers;
using PyramidFlow.TextEncoders;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Lora;
using PyramidFlow.Training.Runs;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Transformers;

namespace PyramidFlow.Training.Dit;

/// <summary>
/// Trains the diffusion transformer, or a LoRA of it, autoregressively with the temporal pyramid, on latents of the sprites world.
/// </summary>
public sealed class DitTrainer : IDisposable
{
    private const int ReportEvery = 20;

    private readonly DitTrainingConfig config;
    private readonly SpriteLatents data;
    private readonly PromptEncoder prompts;
    private readonly Workers<PyramidTransformer> workers;
    private readonly TrainingState state;
    private readonly Muon? muon;
    private readonly PyramidFlowScheduler scheduler = new();
    private readonly FlowObjective objective;
    private readonly RunFolder run;
    private readonly string identity;

    /// <summary>Prepares a run, or takes up the one in the folder.</summary>
    /// <param name="config">What to train.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="data">Latents and what they show.</param>
    /// <param name="prompts">Frozen text encoders.</param>
    /// <param name="start">Opens the weights a new run starts from; null, or what gives null, draws them from the seed.</param>
    public DitTrainer(DitTrainingConfig config, string folder, SpriteLatents data, PromptEncoder prompts, Func<StateSource?>? start = null)
    {
        (this.config, this.data, this.prompts) = (config, data, prompts);
        objective = new FlowObjective(scheduler, new ObjectiveOptions { SampleRatios = [1, 1, 1], CorruptRatio = config.CorruptRatio });
        run = new RunFolder(folder);
        var model = config.Transformer.Build();
        using (var weights = File.Exists(run.StateFile) && config.Lora is null ? null : start?.Invoke())
            GiveWeights(model, weights);
        identity = $"dit seed {config.Seed} {config.Transformer.ToJson()}";
        Func<PyramidTransformer> another = () => config.Transformer.Build();
        if (config.Lora is { } lora)
        {
            identity = $"lora of {lora} {AdaptedTransformer.Fingerprint(model)} {identity}";
            AdaptedTransformer.Attach(model, lora, config.Seed);
            another = () => AdaptedTransformer.Another(config.Transformer, lora, model);
        }

        state = new TrainingState(new AdamWOptions { WeightDecay = config.WeightDecay }, ("", model));
        if (config.Optimizer == DitOptimizer.Muon)
            muon = new Muon(state.Parameters, state.Optimizer, config.WeightDecay, IsHidden);
        workers = new Workers<PyramidTransformer>(model, state.Parameters, config.Workers, another);
        if (File.Exists(run.StateFile))
            state.Load(run.StateFile, identity);
    }

    /// <summary>
    /// Trains to the end, or until cancelled after the running step; either way the state is saved and the averaged
    /// weights lie in <c>dit.safetensors</c> of the folder, a LoRA's in <c>lora.safetensors</c>.
    /// </summary>
    public void Run(IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        var rate = new LearningRate(config.LearningRate, config.WarmUpSteps, config.Steps, LearningRateShape.LinearSecondHalf, config.LearningRate / 20);
        var clock = Stopwatch.StartNew();
        var losses = new double[scheduler.Stages.Count];
        while (state.Step < config.Steps && !cancel.IsCancellationRequested)
        {
            Step(rate.At(state.Step), losses);
            state.Step++;
            if (state.Step % ReportEvery == 0)
            {
                Report(progress, losses, clock.Elapsed.TotalSeconds / ReportEvery);
                Array.Clear(losses);
                clock.Restart();
            }

            if (state.Step % config.CheckpointEvery == 0)
                Save();
        }

        Save();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        workers.Dispose();
        state.Dispose();
    }

    private void GiveWeights(PyramidTransformer model, StateSource? weights)
    {
        if (weights is not null)
        {
            model.Load(weights, ElementType.Float32);
            return;
        }

        using var generator = new RandomGenerator((ulong)config.Seed);
        model.Initialize(generator);
    }

    private void Report(IProgress<TrainingProgress>? progress, double[] losses, double seconds)
    {
        for (var i = 0; i < losses.Length; i++)
            losses[i] /= ReportEvery;
        run.Log(state.Step, ("loss_0", losses[0]), ("loss_1", losses[1]), ("loss_2", losses[2]), ("seconds_per_step", seconds));
        progress?.Report(new TrainingProgress(state.Step, config.Steps, losses.Average(), seconds,
            FormattableString.Invariant($"stages {losses[0]:F4} {losses[1]:F4} {losses[2]:F4}")));
    }

    private void Step(double learningRate, double[] losses)
    {
        var shares = workers.Run(Gradients);
        using var scope = new TensorScope();
        foreach (var share in shares)
        {
            for (var stage = 0; stage < losses.Length; stage++)
                losses[stage] += share[stage];
        }

        state.Parameters.ClipGradients(config.ClipNorm);
        if (muon is null)
            state.Optimizer.Step(learningRate);
        else
            muon.Step(learningRate);
        state.Parameters.ZeroGradients();
        var horizon = Math.Max(10, config.AverageHorizon * state.Step);
        state.Average.Update(state.Parameters, 1 - (1 / horizon));
    }

    // One worker's part of every stage's batch; gradients stay in its model. Returns its part of the mean losses.
    private double[] Gradients(int worker, PyramidTransformer model)
    {
        var losses = new double[scheduler.Stages.Count];
        using var draws = TrainingState.Draws(config.Seed, (state.Step * workers.Count) + worker);
        for (var stage = 0; stage < losses.Length; stage++)
        {
            using var scope = new TensorScope();
            var random = new SpriteRandom(config.Seed, stream: 300 + (stage * workers.Count) + worker, state.Step);
            var image = state.Step < config.ImageSteps || random.NextSingle() < config.ImageShare;
            var frames = image ? 1 : 2 + random.NextInt(data.Frames - 1);
            var (latents, attributes) = data.Draw(random, config.Batch[stage] / workers.Count, frames);
            var text = Text(attributes, random);
            var batch = objective.DrawStage(latents, stage, new GeneratorDraws(draws));
            losses[stage] = FlowStep.Backward(model, batch, text, scale: 1.0 / workers.Count).Mean().Item() / workers.Count;
        }

        return losses;
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

    private void Save()
    {
        state.Save(run.StateFile, identity);
        using var scope = new TensorScope();
        if (config.Lora is { } lora)
        {
            LoraFile.Write(run.File("lora.safetensors"), state.Parameters.Named(state.Average.Values), lora);
            return;
        }

        var fixedTables = workers.Model.NamedParameters().Where(p => !p.Parameter.Trainable).Select(p => (p.Key, p.Parameter.Value));
        SafetensorsWriter.Write(run.File("dit.safetensors"), [.. state.Parameters.Named(state.Average.Values), .. fixedTables]);
    }
}
