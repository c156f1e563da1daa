using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Vae;

/// <summary>
/// Trains the causal video VAE on the sprites world: linear maps first, which are the encoder from then on, so that a
/// transformer can train on its latents at once; then the convolutional decoder by mean squared error.
/// </summary>
public sealed class VaeTrainer : ITraining, IDisposable
{
    private const int EvaluationClips = 8;
    private const long EvaluationSeed = 77;
    private const long FirstClip = 100_000;

    private readonly VaeTrainingConfig config;
    private readonly RunFolder run;
    private readonly TrainingLoop loop;
    private readonly LinearAutoencoder linear;
    private readonly Workers<CausalVideoVae> workers;
    private readonly TrainingPart part;
    private readonly FixedTables tables;

    private double quality;

    /// <summary>Prepares a run, or takes up the one in the folder; makes the linear start if the folder has none.</summary>
    /// <param name="config">What to train.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Told every few steps of the linear start, or null.</param>
    /// <param name="cancel">Stops the linear start.</param>
    /// <param name="group">The processes that train together, or null for one.</param>
    /// <exception cref="ArgumentException">The batch cannot be shared by all workers of all processes.</exception>
    public VaeTrainer(VaeTrainingConfig config, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel, ProcessGroup? group = null)
    {
        if (group is not null && config.Batch % (config.Workers * group.WorldSize) != 0)
            throw new ArgumentException($"batch {config.Batch} cannot be shared by {config.Workers} workers of {group.WorldSize} processes: use a multiple");
        this.config = config;
        run = new RunFolder(folder);
        linear = group.InTurn(() => LinearStartFit.OpenOrFit(run.File(LinearStartFit.FileName), config, progress, cancel));
        var vae = new CausalVideoVae(config.Vae);
        using var generator = new RandomGenerator((ulong)config.Seed);
        vae.Initialize(generator);
        LinearStart.Write(vae, linear, config.Vae.EncoderNormNumGroups);
        FreezeEncoder(vae);
        part = new TrainingPart("", config, null, ("", vae));
        tables = new FixedTables(vae, config.ComputeType);
        workers = new Workers<CausalVideoVae>(vae, part.Parameters, config.Workers, () => FreezeEncoder(new CausalVideoVae(config.Vae)));
        loop = new TrainingLoop(config, this, run, group);
    }

    /// <inheritdoc/>
    public string Identity => $"vae decoder seed {config.Seed} widths {string.Join(",", config.Vae.DecoderBlockOutChannels)}";

    /// <inheritdoc/>
    public IReadOnlyList<TrainingPart> Parts => [part];

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
        loop.Run(progress, cancel);
        return quality;
    }

    /// <inheritdoc/>
    public BatchLosses Backward(MicroBatch batch) => BatchLosses.Mean(workers.Run((worker, vae) => Gradients(batch, worker, vae)));

    /// <inheritdoc/>
    public IEnumerable<(string Key, Tensor Tensor)> Inputs(MicroBatch batch)
    {
        for (var worker = 0; worker < workers.Count; worker++)
        {
            var (video, latents) = Draw(batch, worker);
            yield return ($"worker_{worker}.video", video);
            yield return ($"worker_{worker}.latents", latents);
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<(string Name, double Value)> Publish()
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(run.File("vae.safetensors"), [.. part.Averaged, .. tables.Named]);
        quality = part.WithAverage(() => Evaluate(workers.Model, config.Frames, EvaluationClips));
        return [("psnr", quality)];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        workers.Dispose();
        part.Dispose();
        tables.Dispose();
        linear.Dispose();
    }

    private static CausalVideoVae FreezeEncoder(CausalVideoVae vae)
    {
        foreach (var (key, parameter) in vae.NamedParameters())
            parameter.Trainable = key.StartsWith("decoder.", StringComparison.Ordinal) || key.StartsWith("post_quant_conv.", StringComparison.Ordinal);
        return vae;
    }

    private BatchLosses Gradients(MicroBatch batch, int worker, CausalVideoVae vae)
    {
        using var scope = new TensorScope();
        var (video, latents) = Draw(batch, worker);
        var error = vae.Decode(latents.To(config.ComputeType)).To(ElementType.Float32) - video;
        var loss = (error * error).Mean();
        (loss * (batch.Scale / workers.Count)).Backward();
        return new BatchLosses(loss.Item(), [], latents.Size(0) * latents.Size(2) * latents.Size(3) * latents.Size(4));
    }

    // Clips, crops and noise follow from seed and number alone: a resumed run sees what the uninterrupted one would.
    private (Tensor Video, Tensor Latents) Draw(MicroBatch batch, int worker)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var draws = batch.Draws(worker, workers.Count);
        var count = config.Batch / (workers.Count * batch.Ranks);
        var videos = new Tensor[count];
        var latents = new Tensor[count];
        for (var i = 0; i < count; i++)
        {
            using var clipScope = new TensorScope();
            var index = (batch.Number * config.Batch) + (batch.Share(worker, workers.Count) * count) + i;
            var random = new SpriteRandom(config.Seed, stream: 100, index);
            var places = ((SpriteWorld.Width - config.Crop) / 8) + 1;
            var (y, x) = (8 * random.NextInt(places), 8 * random.NextInt(places));
            var clip = SpriteClips.RenderChannelsLast(SpriteWorld.Scene(config.Seed, FirstClip + index), config.Frames)
                .Narrow(2, y, config.Crop).Narrow(3, x, config.Crop);                              // [1, t, h, w, 3]
            latents[i] = clipScope.Keep(linear.Encode(clip).Permute(0, 4, 1, 2, 3));               // [1, c, t', h/8, w/8]
            videos[i] = clipScope.Keep(clip.Permute(0, 4, 1, 2, 3).Contiguous());
        }

        var z = Tensor.Cat(latents, 0).Contiguous();
        return (scope.Keep(Tensor.Cat(videos, 0)), scope.Keep(z.Add(Tensor.Randn(z.Shape, draws), config.LatentNoise)));
    }
}
