using System.Diagnostics;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Runs;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Vae;

namespace PyramidFlow.Training.Vae;

/// <summary>
/// Trains the causal video VAE on the sprites world: linear maps first, which are the encoder from then on, so that a
/// transformer can train on its latents at once; then the convolutional decoder by mean squared error.
/// </summary>
public sealed class VaeTrainer : IDisposable
{
    private const int ReportEvery = 10;
    private const int EvaluationClips = 8;
    private const long EvaluationSeed = 77;
    private const long FirstClip = 100_000;

    private readonly VaeTrainingConfig config;
    private readonly RunFolder run;
    private readonly LinearAutoencoder linear;
    private readonly Workers<CausalVideoVae> workers;
    private readonly TrainingState state;

    /// <summary>Prepares a run, or takes up the one in the folder; makes the linear start if the folder has none.</summary>
    /// <param name="config">What to train.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Told every few steps of the linear start, or null.</param>
    /// <param name="cancel">Stops the linear start.</param>
    public VaeTrainer(VaeTrainingConfig config, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        this.config = config;
        run = new RunFolder(folder);
        linear = LinearStartFit.OpenOrFit(run.File(LinearStartFit.FileName), config, progress, cancel);
        var vae = new CausalVideoVae(config.Vae);
        using var generator = new RandomGenerator((ulong)config.Seed);
        vae.Initialize(generator);
        LinearStart.Write(vae, linear, config.Vae.EncoderNormNumGroups);
        FreezeEncoder(vae);
        state = new TrainingState(new AdamWOptions { Beta2 = 0.99 }, ("", vae));
        workers = new Workers<CausalVideoVae>(vae, state.Parameters, config.Workers, () => FreezeEncoder(new CausalVideoVae(config.Vae)));
        if (File.Exists(run.StateFile))
            state.Load(run.StateFile, Identity);
    }

    private string Identity => $"vae decoder seed {config.Seed} widths {string.Join(",", config.Vae.DecoderBlockOutChannels)}";

    /// <summary>Mean over unseen clips of the clip's peak signal-to-noise ratio through encoder and decoder, dB.</summary>
    /// <param name="vae">The network, with weights.</param>
    /// <param name="frames">Frames of a clip, 1 + 8n.</param>
    /// <param name="clips">How many clips; at least 1.</param>
    /// <param name="begin">Told the number of each clip before it is done, or null.</param>
    /// <param name="cancel">Checked for each clip.</param>
    public static double Evaluate(CausalVideoVae vae, int frames, int clips, Action<int>? begin = null, CancellationToken cancel = default)
    {
        using var noGrad = NoGrad.Begin();
        var sum = 0.0;
        for (var i = 0; i < clips; i++)
        {
            cancel.ThrowIfCancellationRequested();
            begin?.Invoke(i);
            using var scope = new TensorScope();
            var video = SpriteClips.Render(SpriteWorld.EvaluationScene(EvaluationSeed, i), frames);
            sum += SpriteClips.PeakSignalToNoise(video, vae.Decode(vae.Encode(video).Mode));
        }

        return sum / clips;
    }

    /// <summary>
    /// Trains to the end, or until cancelled after the running step; either way the state is saved and the averaged
    /// weights lie in <c>vae.safetensors</c> of the folder.
    /// </summary>
    /// <returns>Mean peak signal-to-noise ratio of the averaged weights on unseen clips, dB.</returns>
    public double Run(IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        var rate = new LearningRate(config.LearningRate, config.WarmUpSteps, config.Steps, LearningRateShape.LinearSecondHalf, config.LearningRate / 20);
        var clock = Stopwatch.StartNew();
        var losses = 0.0;
        var quality = double.NaN;
        while (state.Step < config.Steps && !cancel.IsCancellationRequested)
        {
            losses += Step(rate.At(state.Step));
            state.Step++;
            if (state.Step % ReportEvery == 0)
            {
                var seconds = clock.Elapsed.TotalSeconds / ReportEvery;
                run.Log(state.Step, ("loss", losses / ReportEvery), ("seconds_per_step", seconds));
                progress?.Report(new TrainingProgress(state.Step, config.Steps, losses / ReportEvery, seconds));
                losses = 0;
                clock.Restart();
            }

            if (state.Step % config.CheckpointEvery == 0)
            {
                quality = Save();
                progress?.Report(new TrainingProgress(state.Step, config.Steps, 0, 0, FormattableString.Invariant($"{quality:F2} dB on unseen clips")));
                clock.Restart();
            }
        }

        return state.Step % config.CheckpointEvery == 0 && double.IsFinite(quality) ? quality : Save();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        workers.Dispose();
        state.Dispose();
        linear.Dispose();
    }

    private static CausalVideoVae FreezeEncoder(CausalVideoVae vae)
    {
        foreach (var (key, parameter) in vae.NamedParameters())
            parameter.Trainable = key.StartsWith("decoder.", StringComparison.Ordinal) || key.StartsWith("post_quant_conv.", StringComparison.Ordinal);
        return vae;
    }

    private double Step(double learningRate)
    {
        var shares = workers.Run(Gradients);
        using var scope = new TensorScope();
        state.Parameters.ClipGradients(config.ClipNorm);
        state.Optimizer.Step(learningRate);
        state.Parameters.ZeroGradients();
        state.Average.Update(state.Parameters, Math.Min(config.AverageDecay, (1 + state.Step) / (10.0 + state.Step)));
        return shares.Sum();
    }

    // Clips, crops and noise follow from seed and step alone: a resumed run sees what the uninterrupted one would.
    private double Gradients(int worker, CausalVideoVae vae)
    {
        using var scope = new TensorScope();
        using var draws = TrainingState.Draws(config.Seed, (state.Step * workers.Count) + worker);
        var count = config.Batch / workers.Count;
        var videos = new Tensor[count];
        var latents = new Tensor[count];
        for (var i = 0; i < count; i++)
        {
            using var clipScope = new TensorScope();
            using var noGrad = NoGrad.Begin();
            var index = (state.Step * config.Batch) + (worker * count) + i;
            var random = new SpriteRandom(config.Seed, stream: 100, index);
            var places = ((SpriteWorld.Width - config.Crop) / 8) + 1;
            var (y, x) = (8 * random.NextInt(places), 8 * random.NextInt(places));
            var video = SpriteClips.RenderChannelsLast(SpriteWorld.Scene(config.Seed, FirstClip + index), config.Frames)
                .Narrow(2, y, config.Crop).Narrow(3, x, config.Crop);                              // [1, t, h, w, 3]
            latents[i] = clipScope.Keep(linear.Encode(video).Permute(0, 4, 1, 2, 3));              // [1, c, t', h/8, w/8]
            videos[i] = clipScope.Keep(video.Permute(0, 4, 1, 2, 3).Contiguous());
        }

        var target = Tensor.Cat(videos, 0);
        var z = Tensor.Cat(latents, 0).Contiguous();
        z = z.Add(Tensor.Randn(z.Shape, draws), config.LatentNoise);
        var error = vae.Decode(z) - target;
        var loss = (error * error).Mean() / workers.Count;
        loss.Backward();
        return loss.Item();
    }

    // State, averaged weights, and how good those are.
    private double Save()
    {
        state.Save(run.StateFile, Identity);
        state.Average.Swap(state.Parameters);
        try
        {
            using var scope = new TensorScope();
            SafetensorsWriter.Write(run.File("vae.safetensors"), workers.Model.NamedParameters().Select(p => (p.Key, p.Parameter.Value)));
            var quality = Evaluate(workers.Model, config.Frames, EvaluationClips);
            run.Log(state.Step, ("psnr", quality));
            return quality;
        }
        finally
        {
            state.Average.Swap(state.Parameters);
        }
    }
}
