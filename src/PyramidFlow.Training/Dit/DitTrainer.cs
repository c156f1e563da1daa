using System.Diagnostics;
using System.Globalization;
using PyramidFlow.TextEncoders;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Runs;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Transformers;

namespace PyramidFlow.Training.Dit;

/// <summary>Trains the diffusion transformer on latents of the sprites world.</summary>
public sealed class DitTrainer : IDisposable
{
    private const int ReportEvery = 20;

    private readonly DitTrainingConfig config;
    private readonly SpriteLatents data;
    private readonly PromptEncoder prompts;
    private readonly Workers<PyramidTransformer> workers;
    private readonly TrainingState state;
    private readonly Muon? muon;
    private readonly ClipObjective objective;
    private readonly RunFolder run;

    /// <summary>Prepares a run, or takes up the one in the folder.</summary>
    /// <param name="config">What to train.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="data">Latents and what they show.</param>
    /// <param name="prompts">Frozen text encoders.</param>
    /// <param name="start">Opens the weights a new run starts from; null, or what gives null, draws them from the seed.</param>
    public DitTrainer(DitTrainingConfig config, string folder, SpriteLatents data, PromptEncoder prompts, Func<StateSource?>? start = null)
    {
        (this.config, this.data, this.prompts) = (config, data, prompts);
        objective = new ClipObjective(config.Objective, config.CorruptRatio);
        run = new RunFolder(folder);
        var model = config.Transformer.Build();
        using (var weights = File.Exists(run.StateFile) ? null : start?.Invoke())
            GiveWeights(model, weights);
        state = new TrainingState(new AdamWOptions { WeightDecay = config.WeightDecay }, ("", model));
        if (config.Optimizer == DitOptimizer.Muon)
            muon = new Muon(state.Parameters, state.Optimizer, config.WeightDecay, IsHidden);
        workers = new Workers<PyramidTransformer>(model, state.Parameters, config.Workers, () => config.Transformer.Build());
        if (File.Exists(run.StateFile))
            state.Load(run.StateFile, Identity);
    }

    private string Identity => $"dit seed {config.Seed} {config.Transformer.ToJson()}" + (config.Objective == DitObjective.Pyramid ? "" : " full_sequence");

    /// <summary>
    /// Trains to the end, or until cancelled after the running step; either way the state is saved and the averaged
    /// weights lie in <c>dit.safetensors</c> of the folder.
    /// </summary>
    public void Run(IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        var rate = new LearningRate(config.LearningRate, config.WarmUpSteps, config.Steps, LearningRateShape.LinearSecondHalf, config.LearningRate / 20);
        var clock = Stopwatch.StartNew();
        var losses = new double[objective.Stages];
        var flops = 0L;
        while (state.Step < config.Steps && !cancel.IsCancellationRequested)
        {
            flops += Step(rate.At(state.Step), losses);
            state.Step++;
            if (state.Step % ReportEvery == 0)
            {
                Report(progress, losses, flops, clock.Elapsed.TotalSeconds / ReportEvery);
                Array.Clear(losses);
                flops = 0;
                clock.Restart();
            }

            if (config.KeepSteps.Contains((int)state.Step))
                WriteWeights($"dit-{state.Step}.safetensors");

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

    private void Report(IProgress<TrainingProgress>? progress, double[] losses, long flops, double seconds)
    {
        for (var i = 0; i < losses.Length; i++)
            losses[i] /= ReportEvery;
        run.Log(state.Step, [.. losses.Select((loss, stage) => ($"loss_{stage}", loss)), ("flops", flops), ("seconds_per_step", seconds)]);
        var stages = string.Join(' ', losses.Select(loss => loss.ToString("F4", CultureInfo.InvariantCulture)));
        progress?.Report(new TrainingProgress(state.Step, config.Steps, losses.Average(), seconds, $"stages {stages}"));
    }

    // Gives what its matrix products cost.
    private long Step(double learningRate, double[] losses)
    {
        var shares = workers.Run(Gradients);
        using var scope = new TensorScope();
        foreach (var (share, _) in shares)
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
        return shares.Sum(share => share.Flops);
    }

    // One worker's part of every stage's batch; gradients stay in its model. Returns its part of the mean losses.
    private (double[] Losses, long Flops) Gradients(int worker, PyramidTransformer model)
    {
        var flops = 0L;
        var losses = new double[objective.Stages];
        using var draws = TrainingState.Draws(config.Seed, (state.Step * workers.Count) + worker);
        for (var stage = 0; stage < losses.Length; stage++)
        {
            using var scope = new TensorScope();
            var random = new SpriteRandom(config.Seed, stream: 300 + (stage * workers.Count) + worker, state.Step);
            var image = state.Step < config.ImageSteps || random.NextSingle() < config.ImageShare;
            var frames = image ? 1 : objective.Frames(random, data.Frames);
            var (latents, attributes) = data.Draw(random, config.Batch[stage] / workers.Count, frames);
            var text = Text(attributes, random);
            var batch = objective.Draw(latents, stage, new GeneratorDraws(draws));
            losses[stage] = FlowStep.Backward(model, batch, text, scale: 1.0 / workers.Count).Mean().Item() / workers.Count;
            var shape = new SequenceShape(text.Mask.Rows, text.Mask.Length, [.. batch.Stages[0].Select(ClipSize.Of)], model.Config.UseTemporalCausal);
            flops += DitFlops.Training(model.Config, shape);
        }

        return (losses, flops);
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
        state.Save(run.StateFile, Identity);
        WriteWeights("dit.safetensors");
    }

    private void WriteWeights(string file)
    {
        using var scope = new TensorScope();
        var fixedTables = workers.Model.NamedParameters().Where(p => !p.Parameter.Trainable).Select(p => (p.Key, p.Parameter.Value));
        SafetensorsWriter.Write(run.File(file), [.. state.Parameters.Named(state.Average.Values), .. fixedTables]);
    }
}
