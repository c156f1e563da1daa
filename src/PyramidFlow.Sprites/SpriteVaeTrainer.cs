using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Sprites;

/// <summary>
/// Trains the causal video VAE on the sprites world: first linear maps, which become the frozen encoder, so that a transformer can train on
/// its latents at once; then the convolutional decoder by mean squared error.
/// </summary>
internal sealed class SpriteVaeTrainer : ITraining, IDisposable
{
    private const int EvaluationClips = 8;
    private const long EvaluationSeed = 77;
    private const long FirstClip = 100_000;

    private readonly SpriteVaeConfig config;
    private readonly RunFolder run;
    private readonly TrainingLoop loop;
    private readonly LinearAutoencoder linear;
    private readonly Workers<CausalVideoVae> workers;
    private readonly TrainingPart part;
    private readonly FixedTables tables;

    private double quality;

    /// <summary>Creates a run, or resumes the one in the folder; fits the linear maps if they are missing.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Reports progress of the linear fit; null reports nothing.</param>
    /// <param name="cancellationToken">Cancels the linear fit.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <exception cref="TrainingException">The batch cannot be divided among all workers of all processes.</exception>
    public SpriteVaeTrainer(SpriteVaeConfig config, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group = null)
    {
        if (group is not null && config.Batch % (config.Workers * group.WorldSize) != 0)
            throw TrainingFault.BatchNotSharedByProcesses(config.Batch, config.Workers, group.WorldSize);
        run = new RunFolder(folder);
        this.config = config = config.GoingOn(run);
        linear = group.RankZeroFirst(() => LinearStartFit.OpenOrFit(run.File(LinearStartFit.FileName), config, progress, cancellationToken));
        var vae = new CausalVideoVae(config.Vae);
        using var generator = new RandomGenerator((ulong)config.Seed);
        vae.Initialize(generator);
        LinearStart.Write(vae, linear, config.Vae.EncoderNormNumGroups);
        FreezeEncoder(vae);
        part = new TrainingPart("", config, new PartOptions { Group = group }, ("", vae));
        tables = new FixedTables(vae, config.ComputeType);
        workers = new Workers<CausalVideoVae>(vae, part.Parameters, config.Workers, () => FreezeEncoder(new CausalVideoVae(config.Vae)));
        loop = new TrainingLoop(config, this, run, group);
    }

    /// <inheritdoc/>
    public string Identity => $"vae decoder seed {config.Seed} widths {string.Join(",", config.Vae.DecoderBlockOutChannels)}";

    /// <summary>Called by rank zero once the folder is its own.</summary>
    internal Action OnBegin { get; init; } = () => { };

    /// <inheritdoc/>
    public void BeginRun() => OnBegin();

    /// <inheritdoc/>
    public IReadOnlyList<TrainingPart> Parts => [part];

    /// <summary>Mean PSNR of reconstructed unseen clips in dB.</summary>
    /// <param name="vae">The VAE with weights.</param>
    /// <param name="frames">Frames of a clip, 1 + 8n.</param>
    /// <param name="clips">Number of clips; at least 1.</param>
    /// <param name="begin">Called with the number of each clip before it is processed; may be null.</param>
    /// <param name="cancellationToken">Checked before every clip.</param>
    public static double Evaluate(CausalVideoVae vae, int frames, int clips, Action<int>? begin = null, CancellationToken cancellationToken = default)
    {
        using var noGrad = NoGrad.Begin();
        var sum = 0.0;
        for (var i = 0; i < clips; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            begin?.Invoke(i);
            using var scope = new TensorScope();
            var video = SpriteClips.Render(SpriteWorld.EvaluationScene(EvaluationSeed, i), frames);
            sum += Reconstruction.PeakSignalToNoise(video, vae.Decode(vae.Encode(video).Mode));
        }

        return sum / clips;
    }

    /// <summary>
    /// Trains to the last step, or until cancelled after the current step; in both cases saves the state, and writes the EMA to
    /// <c>causal_video_vae</c> in the folder.
    /// </summary>
    /// <returns>Mean PSNR of the EMA weights on unseen clips in dB.</returns>
    public double Run(IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        loop.Run(progress, cancellationToken);
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
        VaeFolder.Write(run.File(CheckpointNames.Vae), config.Vae, [.. part.Averaged, .. tables.Named]);
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

    /// <summary>Leaves the decoder as what is trained.</summary>
    internal static CausalVideoVae FreezeEncoder(CausalVideoVae vae)
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

    // Clips, crops and noise depend on the seed and the batch number alone, so that a resumed run sees the same data.
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
            var random = new KeyedRandom(config.Seed, stream: 100, index);
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

/// <summary>Configuration of <c>train vae</c> on the sprites world; read from JSON.</summary>
public sealed record SpriteVaeConfig : LoopConfig
{
    /// <summary>Sets the defaults for the sprites world.</summary>
    public SpriteVaeConfig()
    {
        (Steps, Workers, Beta2) = (2000, 2, 0.99);
        (Schedule, AverageDecay, CheckpointEvery, LogEvery) = (LearningRateShape.LinearSecondHalf, 0.99, 100, 10);
    }

    /// <summary>The network.</summary>
    public required CausalVideoVaeConfig Vae { get; set; }

    /// <summary>Training steps of the linear maps.</summary>
    public int LinearSteps { get; set; } = 500;

    /// <summary>Peak learning rate of the linear maps.</summary>
    public double LinearLearningRate { get; set; } = 8e-3;

    /// <summary>Whitening of the latent channels: 1 is complete, 0 is none.</summary>
    public double WhiteningPower { get; set; } = 0.7;

    /// <summary>Clips per step.</summary>
    public int Batch { get; set; } = 2;

    /// <summary>Frames of a clip, 1 + 8n.</summary>
    public int Frames { get; set; } = 33;

    /// <summary>Side of the square crop of each clip in pixels, a multiple of 8.</summary>
    public int Crop { get; set; } = 64;

    /// <summary>Standard deviation of the noise added to the latents, which makes the decoder robust to generated latents.</summary>
    public double LatentNoise { get; set; } = 0.05;

    /// <inheritdoc/>
    protected override double UsualLearningRate => 2e-4;

    /// <inheritdoc/>
    protected override int MostWarmUpSteps => 20;

    /// <summary>Reads a configuration.</summary>
    /// <exception cref="TrainingException">The file is missing or malformed, or contains an unknown key or an invalid value.</exception>
    /// <exception cref="CheckpointException">The network is invalid.</exception>
    public static SpriteVaeConfig Load(TrainingConfigSource source) =>
        TrainingConfigFile.Read(source, SpriteVaeJson.Default.SpriteVaeConfig).Check(source.Path);

    private SpriteVaeConfig Check(string path)
    {
        CausalVideoVaeConfig.Parse(Encoding.UTF8.GetBytes(Vae.ToJson()), path);
        var fault =
            Vae.EncoderSpatialDownSample.Count(on => on) != LinearAutoencoder.Levels ? TrainingFault.VaeLevels(path, LinearAutoencoder.Levels)
            : Frames < 9 || Frames % 8 != 1 ? TrainingFault.FramesNotWhole(path, Frames, Math.Max(9, 1 + (Frames / 8 * 8)))
            : Crop < 8 || Crop % 8 != 0 || Crop > SpriteWorld.Width ? TrainingFault.CropInvalid(path, Crop, SpriteWorld.Width)
            : Workers < 1 || Batch < 1 || Batch % Workers != 0 ? TrainingFault.BatchNotShared(path, Batch, Workers)
            : LoopFault(path);
        return fault is null ? this : throw fault;
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    ReadCommentHandling = JsonCommentHandling.Skip, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(SpriteVaeConfig))]
internal sealed partial class SpriteVaeJson : JsonSerializerContext;
