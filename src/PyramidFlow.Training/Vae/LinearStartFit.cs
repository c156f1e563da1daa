using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Sprites;

namespace PyramidFlow.Training.Vae;

/// <summary>Fits a <see cref="LinearAutoencoder"/> to clips of the sprites world.</summary>
public static class LinearStartFit
{
    /// <summary>Name of the maps' file in a run's folder.</summary>
    public const string FileName = "linear.safetensors";

    private const int SampleClips = 12;
    private const int ClipsPerStep = 2;

    /// <summary>The maps of a run: read if they are there, else fitted and written.</summary>
    public static LinearAutoencoder OpenOrFit(string path, VaeTrainingConfig config, IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        if (!File.Exists(path))
        {
            using var fitted = Fit(config, progress, cancel);
            using var scope = new TensorScope();
            SafetensorsWriter.Write(path, fitted.NamedParameters().Select(p => (p.Key, p.Parameter.Value)));
        }

        var linear = Declare(config);
        using var source = SafetensorsFile.Open(path);
        linear.Load(source);
        return linear;
    }

    /// <summary>Principal components first, then gradient descent on all maps together.</summary>
    /// <param name="config">Seed, frames, steps, learning rate and widths.</param>
    /// <param name="progress">Told every 20 steps, or null.</param>
    /// <param name="cancel">Checked every step.</param>
    public static LinearAutoencoder Fit(VaeTrainingConfig config, IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        var linear = Declare(config);
        using var generator = new RandomGenerator((ulong)config.Seed);
        linear.Initialize(generator);
        using (var scope = new TensorScope())
            linear.InitializeFrom(Clips(config, 0, SampleClips));

        using var parameters = new FlatParameters(("", linear));
        using var optimizer = new AdamW(parameters, new AdamWOptions { WeightDecay = 0, Beta2 = 0.99 });
        var rate = new LearningRate(config.LinearLearningRate, 10, config.LinearSteps, LearningRateShape.Cosine);
        for (var step = 0; step < config.LinearSteps; step++)
        {
            cancel.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            var video = Clips(config, SampleClips + (step * ClipsPerStep), ClipsPerStep);
            var error = linear.Decode(linear.Encode(video)) - video;
            var loss = (error * error).Mean();
            loss.Backward();
            parameters.ClipGradients(config.ClipNorm);
            optimizer.Step(rate.At(step));
            parameters.ZeroGradients();
            if (step % 20 == 19)
                progress?.Report(new TrainingProgress(step + 1, config.LinearSteps, loss.Item(), 0, "linear start"));
        }

        Unflatten(linear);
        using (var scope = new TensorScope())
            linear.NormalizeLatents(Clips(config, 0, SampleClips), config.WhiteningPower);
        return linear;
    }

    internal static LinearAutoencoder Declare(VaeTrainingConfig config) =>
        new([.. config.Vae.EncoderBlockOutChannels.Take(LinearAutoencoder.Levels).Select(c => (long)c)], config.Vae.EncoderOutChannels);

    private static Tensor Clips(VaeTrainingConfig config, long first, int count)
    {
        var clips = new Tensor[count];
        for (var i = 0; i < count; i++)
            clips[i] = SpriteClips.RenderChannelsLast(SpriteWorld.Scene(config.Seed, first + i), config.Frames);
        return Tensor.Cat(clips, 0);
    }

    // The flat vector goes with this method; the maps keep memory of their own.
    private static void Unflatten(LinearAutoencoder linear)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var (_, parameter) in linear.NamedParameters())
        {
            using var scope = new TensorScope();
            parameter.Value = parameter.Value.Detach().Clone();
        }
    }
}
