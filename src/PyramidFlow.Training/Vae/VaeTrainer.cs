using System.Diagnostics;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Runs;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Vae;

namespace PyramidFlow.Training.Vae;

/// <summary>Trains the causal video VAE on the sprites world: linear start, then mean squared error and a little KL.</summary>
public static class VaeTrainer
{
    private const int ReportEvery = 10;
    private const int EvaluationClips = 8;
    private const long EvaluationSeed = 77;

    /// <summary>Runs or resumes a training; the averaged, whitened weights end in <c>FOLDER/vae.safetensors</c>.</summary>
    /// <param name="config">What to train.</param>
    /// <param name="folder">Folder of the run; a state found there is resumed.</param>
    /// <param name="progress">Told every few steps, or null.</param>
    /// <param name="cancel">Stops after the running step, with a checkpoint.</param>
    /// <returns>Mean peak signal-to-noise ratio on unseen clips, dB.</returns>
    public static double Run(VaeTrainingConfig config, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        var run = new RunFolder(folder);
        var identity = $"vae seed {config.Seed} widths {string.Join(",", config.Vae.EncoderBlockOutChannels)}";
        using var vae = new CausalVideoVae(config.Vae);
        using var generator = new RandomGenerator((ulong)config.Seed);
        vae.Initialize(generator);
        var resumed = File.Exists(run.StateFile);
        if (!resumed && config.LinearSteps > 0)
            StartLinearly(vae, config, progress, cancel);

        using var state = new TrainingState(new AdamWOptions { WeightDecay = 1e-4, Beta2 = 0.99 }, ("", vae));
        if (resumed)
            state.Load(run.StateFile, identity);
        try
        {
            Loop(vae, state, config, run, identity, progress, cancel);
        }
        finally
        {
            state.Save(run.StateFile, identity);
        }

        state.Average.Swap(state.Parameters);
        Whiten(vae, config);
        using (var scope = new TensorScope())
            SafetensorsWriter.Write(run.File("vae.safetensors"), vae.NamedParameters().Select(p => (p.Key, p.Parameter.Value)));
        return Evaluate(vae, config.Frames, EvaluationClips);
    }

    /// <summary>Mean over unseen clips of the clip's peak signal-to-noise ratio through encoder and decoder, dB.</summary>
    public static double Evaluate(CausalVideoVae vae, int frames, int clips)
    {
        using var noGrad = NoGrad.Begin();
        var sum = 0.0;
        for (var i = 0; i < clips; i++)
        {
            using var scope = new TensorScope();
            var video = SpriteClips.Render(SpriteWorld.EvaluationScene(EvaluationSeed, i), frames);
            sum += SpriteClips.PeakSignalToNoise(video, vae.Decode(vae.Encode(video).Mode));
        }

        return sum / clips;
    }

    private static void StartLinearly(CausalVideoVae vae, VaeTrainingConfig config, IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        using var scope = new TensorScope();
        using var linear = LinearStartFit.Fit(config, progress, cancel);
        LinearStart.Write(vae, linear, config.Vae.EncoderNormNumGroups, LinearStartFit.LatentScale(linear, config));
        progress?.Report(new TrainingProgress(0, config.Steps, 0, 0, $"linear start: {Evaluate(vae, config.Frames, EvaluationClips):F2} dB"));
    }

    private static void Loop(CausalVideoVae vae, TrainingState state, VaeTrainingConfig config, RunFolder run, string identity,
        IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        var rate = new LearningRate(config.LearningRate, config.WarmUpSteps, config.Steps, LearningRateShape.LinearSecondHalf);
        var clock = Stopwatch.StartNew();
        double losses = 0;
        while (state.Step < config.Steps && !cancel.IsCancellationRequested)
        {
            losses += Step(vae, state, config, rate.At(state.Step));
            state.Step++;
            if (state.Step % ReportEvery == 0)
            {
                var seconds = clock.Elapsed.TotalSeconds / ReportEvery;
                progress?.Report(new TrainingProgress(state.Step, config.Steps, losses / ReportEvery, seconds));
                run.Log(state.Step, ("loss", losses / ReportEvery), ("seconds_per_step", seconds));
                (losses, clock) = (0, Stopwatch.StartNew());
            }

            if (state.Step % config.CheckpointEvery == 0)
            {
                state.Save(run.StateFile, identity);
                state.Average.Swap(state.Parameters);
                var quality = Evaluate(vae, config.Frames, EvaluationClips);
                state.Average.Swap(state.Parameters);
                run.Log(state.Step, ("psnr", quality));
                progress?.Report(new TrainingProgress(state.Step, config.Steps, 0, 0, $"{quality:F2} dB"));
                clock = Stopwatch.StartNew();
            }
        }
    }

    private static double Step(CausalVideoVae vae, TrainingState state, VaeTrainingConfig config, double learningRate)
    {
        using var scope = new TensorScope();
        using var draws = TrainingState.Draws(config.Seed, state.Step);
        var video = Batch(config, state.Step);                                                     // [b, 3, t, h, w]
        DiagonalGaussian posterior;
        using (state.Step < config.FreezeEncoderAt ? NoGrad.Suspend() : NoGrad.Begin())
            posterior = vae.Encode(video);
        var error = vae.Decode(posterior.Sample(draws)) - video;
        var loss = (error * error).Mean();
        if (state.Step < config.FreezeEncoderAt)
            loss += posterior.Kl().Mean() * config.KlWeight;
        loss.Backward();
        state.Parameters.ClipGradients(config.ClipNorm);
        state.Optimizer.Step(learningRate);
        state.Parameters.ZeroGradients();
        state.Average.Update(state.Parameters, Math.Min(config.AverageDecay, (1 + state.Step) / (10.0 + state.Step)));
        return loss.Item();
    }

    // Crops follow from seed and step alone, so that a resumed run sees what the uninterrupted one would.
    private static Tensor Batch(VaeTrainingConfig config, long step)
    {
        var clips = new Tensor[config.Batch];
        for (var i = 0; i < config.Batch; i++)
        {
            var index = (step * config.Batch) + i;
            var random = new SpriteRandom(config.Seed, stream: 100, index);
            var clip = SpriteClips.Render(SpriteWorld.Scene(config.Seed, 10_000 + index), config.Frames);
            var places = (SpriteWorld.Width - config.Crop) / 8;
            clips[i] = clip.Narrow(3, 8 * random.NextInt(places + 1), config.Crop).Narrow(4, 8 * random.NextInt(places + 1), config.Crop);
        }

        return Tensor.Cat(clips, 0).Contiguous();
    }

    // Each latent channel to mean 0 and variance 1, folded into the 1x1 convolutions between encoder, latent and decoder.
    private static void Whiten(CausalVideoVae vae, VaeTrainingConfig config)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var latents = Tensor.Cat([.. Enumerable.Range(0, 24).Select(i =>
            vae.Encode(SpriteClips.Render(SpriteWorld.Scene(config.Seed, i), config.Frames)).Mode.Transpose(0, 1).Flatten(1))], 1);  // [c, n]
        var mean = latents.Mean([1]);
        var scale = (latents.Var([1]) + 1e-8).Sqrt();
        var weights = vae.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter.Value);
        var (encode, encodeBias) = (weights["quant_conv.conv.weight"], weights["quant_conv.conv.bias"]);
        var (decode, decodeBias) = (weights["post_quant_conv.conv.weight"], weights["post_quant_conv.conv.bias"]);
        var channels = mean.ElementCount;
        decodeBias.AddInPlace(decode.Reshape(channels, channels).Matmul(mean));
        decode.MulInPlace(scale.Reshape(1, -1, 1, 1, 1));
        encodeBias.Narrow(0, 0, channels).SubInPlace(mean).DivInPlace(scale);
        encodeBias.Narrow(0, channels, channels).AddInPlace(scale.Log(), -2);
        encode.Narrow(0, 0, channels).DivInPlace(scale.Reshape(-1, 1, 1, 1, 1));
    }
}
