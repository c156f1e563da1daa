using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Models.Vae;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Vae;

/// <summary>What <c>train vae</c> does with videos and images of one's own; the defaults are those of the released scripts.</summary>
public sealed record VaeConfig : LoopConfig
{
    /// <summary>As released: 200,000 steps, half a cosine after 2,000 steps of rise, no average.</summary>
    public VaeConfig()
    {
        (Seed, Steps, LearningRate, FinalLearningRate, WarmUpSteps, Schedule) = (42, 200_000, 1e-4, 1e-5, 2000, LearningRateShape.Cosine);
        (WeightDecay, AverageDecay, CheckpointEvery) = (1e-3, 0, 2000);
    }

    /// <summary>Videos and images.</summary>
    public required DataOptions Data { get; set; }

    /// <summary>
    /// Where the weights come from: the name of a model, its folder, a run of <c>train vae</c>, the folder of a VAE, or a file of weights;
    /// null draws new ones. Paths are seen from the folder of the configuration.
    /// </summary>
    public string? StartFrom { get; set; }

    /// <summary>The network; null is that of <see cref="StartFrom"/>, or, with new weights or a file of weights, the released one.</summary>
    public CausalVideoVaeConfig? Vae { get; set; }

    /// <summary>Whether what makes latents stays as it is, so that a transformer trained on them still fits.</summary>
    public bool FreezeEncoder { get; set; }

    /// <summary>Videos in a batch of one process; at least 1.</summary>
    public int Batch { get; set; } = 2;

    /// <summary>Images in a batch of one process; at least 1.</summary>
    public int ImageBatch { get; set; } = 8;

    /// <summary>Windows of time in which a clip is computed, one after another; 1 is the whole clip at once.</summary>
    public int Windows { get; set; } = 1;

    /// <summary>Items that are left out of training and measured at every checkpoint; 0 measures nothing.</summary>
    public int HeldOut { get; set; } = 8;

    /// <summary>Where to compute: <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>; of several processes on one machine each takes the GPU of its number.</summary>
    public string Device { get; set; } = "cpu";

    /// <summary>File of the LPIPS weights (<c>vgg_lpips.pth</c>); needed unless <see cref="PerceptualWeight"/> is 0.</summary>
    public string? Lpips { get; set; }

    /// <summary>Weight of the mean squared error of pixels in -1 to 1.</summary>
    public double PixelWeight { get; set; } = 10;

    /// <summary>Weight of the perceptual distance; 0 goes without, and needs no LPIPS weights.</summary>
    public double PerceptualWeight { get; set; } = 1;

    /// <summary>Weight of the Kullback-Leibler divergence, which is a sum over time, height and width.</summary>
    public double KlWeight { get; set; } = 1e-12;

    /// <summary>Logarithm of the variance of the reconstruction's error; it is not trained.</summary>
    public double LogVariance { get; set; }

    /// <summary>The discriminator; null trains without.</summary>
    public VaeDiscriminatorOptions? Discriminator { get; set; }

    /// <summary>How much each part of the loss counts.</summary>
    [JsonIgnore]
    internal VaeLossOptions Loss => new()
    {
        PixelWeight = PixelWeight, PerceptualWeight = PerceptualWeight, KlWeight = KlWeight, LogVariance = LogVariance,
        AdversarialFactor = Discriminator is null ? 0 : 1,
        AdversarialWeight = Discriminator?.Weight ?? 0,
        AdversarialStart = Discriminator?.Start ?? 0,
        Adversarial = Discriminator?.Loss ?? AdversarialLoss.Hinge,
    };

    /// <summary>Reads a configuration file.</summary>
    /// <exception cref="ArgumentException">It is missing, malformed, holds an unknown key or an impossible value.</exception>
    /// <exception cref="CheckpointException">It describes a network that cannot be.</exception>
    public static VaeConfig Load(string path) => TrainingConfigFile.Read(path, VaeJson.Default.VaeConfig).Check(path);

    /// <summary>Finds what the paths lead to.</summary>
    /// <param name="path">File of the configuration.</param>
    /// <exception cref="ArgumentException">A path is meant from the working folder.</exception>
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
            Vae?.Others?.Keys.FirstOrDefault() is { } unknown ? $"unknown key {unknown} in vae"
            : Workers != 1 ? $"workers {Workers} is impossible here, one process computes one batch at a time: use 1, and data.workers for the decoding"
            : Batch < 1 ? $"batch {Batch} is less than 1"
            : ImageBatch < 1 ? $"image_batch {ImageBatch} is less than 1"
            : Windows < 1 ? $"windows {Windows} is less than 1: 1 is the whole clip at once"
            : HeldOut < 0 ? $"held_out {HeldOut} is less than 0"
            : !(PixelWeight >= 0 && PerceptualWeight >= 0 && KlWeight >= 0) ? "a weight of the loss is less than 0"
            : PixelWeight + PerceptualWeight == 0 ? "pixel_weight and perceptual_weight are both 0: nothing is learned"
            : PerceptualWeight > 0 && Lpips is null
                ? FormattableString.Invariant($"perceptual_weight {PerceptualWeight} needs the LPIPS weights: give their file (vgg_lpips.pth) as lpips, or set perceptual_weight to 0")
            : Discriminator?.Fault() ?? LoopFault();
        return fault is null ? this : throw new ArgumentException($"{path}: {fault}");
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    ReadCommentHandling = JsonCommentHandling.Skip, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(VaeConfig))]
internal sealed partial class VaeJson : JsonSerializerContext;

/// <summary>The <c>discriminator</c> of a VAE's training; the defaults are those of the released scripts.</summary>
public sealed record VaeDiscriminatorOptions
{
    /// <summary>First step with an adversarial part; 0 or more.</summary>
    public long Start { get; set; } = 250_000;

    /// <summary>Weight of the adversarial part, relative to the gradient of the others at the last layer.</summary>
    public double Weight { get; set; } = 0.5;

    /// <summary>Peak learning rate of the discriminator.</summary>
    public double LearningRate { get; set; } = 1e-4;

    /// <summary>What it minimises: <c>hinge</c> or <c>vanilla</c>.</summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<AdversarialLoss>))]
    public AdversarialLoss Loss { get; set; } = AdversarialLoss.Hinge;

    /// <summary>Whether it judges clips (3-D), not single frames.</summary>
    public bool Clips { get; set; }

    /// <summary>How often it halves height and width; at least 1.</summary>
    public int Layers { get; set; } = 4;

    /// <summary>Channels of its first layer; at least 1.</summary>
    public int Width { get; set; } = 64;

    /// <summary>The first impossible value and what it may be, or null.</summary>
    internal string? Fault() =>
        Start < 0 ? $"discriminator.start {Start} is less than 0"
        : !(Weight > 0) ? FormattableString.Invariant($"discriminator.weight {Weight} is not above 0: leave the discriminator out to train without")
        : !(LearningRate >= 0) ? FormattableString.Invariant($"discriminator.learning_rate {LearningRate} is less than 0")
        : Layers < 1 ? $"discriminator.layers {Layers} is less than 1"
        : Width < 1 ? $"discriminator.width {Width} is less than 1"
        : null;
}
