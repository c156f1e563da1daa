using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Vae;

/// <summary>Configuration of <c>train vae</c> on videos and images; the defaults are those of the released scripts.</summary>
public sealed record VaeConfig : LoopConfig
{
    /// <summary>Sets the released defaults: 200,000 steps, cosine decay after at most 2,000 steps of warmup, no EMA.</summary>
    public VaeConfig()
    {
        (Seed, Steps, FinalLearningRate, Schedule) = (42, 200_000, 1e-5, LearningRateShape.Cosine);
        (WeightDecay, AverageDecay, CheckpointEvery) = (1e-3, 0, 2000);
    }

    /// <summary>Videos and images.</summary>
    public required DataOptions Data { get; set; }

    /// <summary>
    /// Initial weights: the name or folder of a model, a run of <c>train vae</c>, the folder of a VAE, or a file of weights; null draws new
    /// weights. Paths are relative to the configuration file.
    /// </summary>
    public string? StartFrom { get; set; }

    /// <summary>The network; null uses that of <see cref="StartFrom"/>, or the released one with new weights or a file of weights.</summary>
    public CausalVideoVaeConfig? Vae { get; set; }

    /// <summary>Whether to freeze the encoder, so that a transformer trained on its latents still fits.</summary>
    public bool FreezeEncoder { get; set; }

    /// <summary>Videos per batch of one process; at least 1.</summary>
    public int Batch { get; set; } = 2;

    /// <summary>Images per batch of one process; at least 1.</summary>
    public int ImageBatch { get; set; } = 8;

    /// <summary>Number of time windows that a clip is processed in, one after another; 1 processes the whole clip at once.</summary>
    public int Windows { get; set; } = 1;

    /// <summary>Number of items held out for evaluation at every checkpoint; 0 evaluates nothing.</summary>
    public int HeldOut { get; set; } = 8;

    /// <summary>Device: <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>; with several processes on one machine, <c>cuda</c> is the GPU of the local rank.</summary>
    public string Device { get; set; } = "cpu";

    /// <summary>File of the LPIPS weights (<c>vgg_lpips.pth</c>); required unless <see cref="PerceptualWeight"/> is 0.</summary>
    public string? Lpips { get; set; }

    /// <summary>Weight of the mean squared error of pixels in -1 to 1.</summary>
    public double PixelWeight { get; set; } = 10;

    /// <summary>Weight of the perceptual distance; 0 omits the term, which then needs no LPIPS weights.</summary>
    public double PerceptualWeight { get; set; } = 1;

    /// <summary>Weight of the KL divergence, a sum over time, height and width.</summary>
    public double KlWeight { get; set; } = 1e-12;

    /// <summary>Logarithm of the variance of the reconstruction error; it is not trained.</summary>
    public double LogVariance { get; set; }

    /// <summary>The discriminator; null trains without one.</summary>
    public VaeDiscriminatorOptions? Discriminator { get; set; }

    /// <inheritdoc/>
    protected override int MostWarmUpSteps => 2000;

    /// <summary>Weights of the loss terms.</summary>
    [JsonIgnore]
    internal VaeLossOptions Loss => new()
    {
        PixelWeight = PixelWeight, PerceptualWeight = PerceptualWeight, KlWeight = KlWeight, LogVariance = LogVariance,
        AdversarialFactor = Discriminator is null ? 0 : 1,
        AdversarialWeight = Discriminator?.Weight ?? 0,
        AdversarialStart = Discriminator?.Start ?? 0,
        Adversarial = Discriminator?.Loss ?? AdversarialLoss.Hinge,
    };

    /// <summary>Reads a configuration.</summary>
    /// <exception cref="TrainingException">The file is missing or malformed, or contains an unknown key or an invalid value.</exception>
    /// <exception cref="CheckpointException">The network is invalid.</exception>
    public static VaeConfig Load(TrainingConfigSource source) => TrainingConfigFile.Read(source, VaeJson.Default.VaeConfig).Check(source.Path);

    /// <summary>Resolves the paths of the configuration.</summary>
    /// <param name="path">The configuration file.</param>
    /// <exception cref="TrainingException">A path is relative to the working folder.</exception>
    internal VaeConfig Find(string path)
    {
        StartFrom = StartFrom is null ? null : ConfigPaths.FolderOrName(path, "start_from", StartFrom);
        Lpips = Lpips is null ? null : ConfigPaths.File(path, "lpips", Lpips);
        Data.Find(path);
        return this;
    }

    private VaeConfig Check(string path)
    {
        if (Vae is not null)
            CausalVideoVaeConfig.Parse(Encoding.UTF8.GetBytes(Vae.ToJson()), path);
        var fault =
            Vae?.Others?.Keys.FirstOrDefault() is { } unknown ? TrainingFault.UnknownKey(path, null, unknown, "vae", null)
            : Workers != 1 ? TrainingFault.WorkersOfVae(path, Workers)
            : Batch < 1 ? TrainingFault.TooSmall(path, "batch", Batch, 1)
            : ImageBatch is { } images && images < 1 ? TrainingFault.TooSmall(path, "image_batch", images, 1)
            : Windows < 1 ? TrainingFault.TooSmall(path, "windows", Windows, 1)
            : HeldOut < 0 ? TrainingFault.TooSmall(path, "held_out", HeldOut, 0)
            : !(PixelWeight >= 0 && PerceptualWeight >= 0 && KlWeight >= 0) ? TrainingFault.LossWeightNegative(path)
            : PixelWeight + PerceptualWeight == 0 ? TrainingFault.NothingLearned(path)
            : PerceptualWeight > 0 && Lpips is null ? TrainingFault.LpipsMissing(path, PerceptualWeight)
            : Discriminator?.Fault(path) ?? LoopFault(path);
        return fault is null ? this : throw fault;
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    ReadCommentHandling = JsonCommentHandling.Skip, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(VaeConfig))]
internal sealed partial class VaeJson : JsonSerializerContext;

/// <summary>The key <c>discriminator</c>; the defaults are those of the released scripts.</summary>
public sealed record VaeDiscriminatorOptions
{
    /// <summary>First step with an adversarial term; 0 or more.</summary>
    public long Start { get; set; } = 250_000;

    /// <summary>Weight of the adversarial term relative to the gradient of the other terms at the last layer.</summary>
    public double Weight { get; set; } = 0.5;

    /// <summary>Peak learning rate of the discriminator.</summary>
    public double LearningRate { get; set; } = 1e-4;

    /// <summary>Loss function: <c>hinge</c> or <c>vanilla</c>.</summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<AdversarialLoss>))]
    public AdversarialLoss Loss { get; set; } = AdversarialLoss.Hinge;

    /// <summary>Whether it judges clips (3-D convolutions) instead of single frames.</summary>
    public bool Clips { get; set; }

    /// <summary>Number of times height and width are halved; at least 1.</summary>
    public int Layers { get; set; } = 4;

    /// <summary>Channels of its first layer; at least 1.</summary>
    public int Width { get; set; } = 64;

    /// <summary>The error for the first invalid value; null if all values are valid.</summary>
    /// <param name="file">The configuration file.</param>
    internal TrainingException? Fault(string file) =>
        Start < 0 ? TrainingFault.TooSmall(file, "discriminator.start", Start, 0)
        : !(Weight > 0) ? TrainingFault.NotAbove(file, "discriminator.weight", Weight, 0)
        : !(LearningRate >= 0) ? TrainingFault.TooSmall(file, "discriminator.learning_rate", LearningRate, 0)
        : Layers < 1 ? TrainingFault.TooSmall(file, "discriminator.layers", Layers, 1)
        : Width < 1 ? TrainingFault.TooSmall(file, "discriminator.width", Width, 1)
        : null;
}
