using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Models;

namespace PyramidFlow.Training.Dit;

/// <summary>What <c>train dit</c> and <c>train lora</c> do; read from JSON.</summary>
public sealed record DitTrainingConfig : LoopConfig
{
    private const int Shapes = 4;

    private ITransformerConfig? transformer;

    /// <summary>With what suits the sprites world.</summary>
    public DitTrainingConfig()
    {
        (Workers, LearningRate, WarmUpSteps) = (2, 1.5e-3, 200);
        (Schedule, AverageHorizon) = (LearningRateShape.LinearSecondHalf, 0.05);
    }

    /// <summary>The network, of either family; left out it is that of <see cref="StartFrom"/>.</summary>
    [JsonConverter(typeof(TransformerConfigConverter))]
    public ITransformerConfig Transformer
    {
        get => transformer ?? throw new InvalidOperationException("the configuration names no transformer");
        set => transformer = value;
    }

    /// <summary>
    /// Model to go on from, its name or its folder: its transformer's weights, text encoders and VAE; null starts from nothing. A
    /// folder is seen from that of the configuration.
    /// </summary>
    public string? StartFrom { get; set; }

    /// <summary>The additions that <c>train lora</c> trains beside frozen weights; null trains the weights.</summary>
    public LoraConfig? Lora { get; set; }

    /// <summary>Whether the transformer of <see cref="StartFrom"/> is left, and new weights are drawn from the seed.</summary>
    public bool NewWeights { get; set; }

    /// <summary>What the transformer learns: <c>pyramid</c> or <c>full_sequence</c>.</summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<DitObjective>))]
    public DitObjective Objective { get; set; }

    /// <summary>Clips in the cached data set.</summary>
    public int Clips { get; set; } = 12_000;

    /// <summary>Latent frames of a cached clip: one image and the units after it.</summary>
    public int LatentFrames { get; set; } = 7;

    /// <summary>Share of the cached clips in which the sprite turns, and the prompt changes with it.</summary>
    public double TurnShare { get; set; }

    /// <summary>
    /// How often each shape is trained on, in the order of <see cref="Sprites.SpriteShape"/>; only their proportion counts. Null
    /// draws all clips alike, a quarter for each shape.
    /// </summary>
    public IReadOnlyList<double>? ShapeShares { get; set; }

    /// <summary>A colour that a share of the cached clips is painted in, such as one that the model does not know; null is none.</summary>
    [JsonConverter(typeof(PlainEnumConverter<SpriteColour>))]
    public SpriteColour? ExtraColour { get; set; }

    /// <summary>That share.</summary>
    public double ExtraColourShare { get; set; } = 0.5;

    /// <summary>Steps at the beginning that train on images only.</summary>
    public int ImageSteps { get; set; }

    /// <summary>Samples in a step for each stage, lowest resolution first; one number where the objective has no stages.</summary>
    public IReadOnlyList<int> Batch { get; set; } = [32, 32, 32];

    /// <summary>Share of the samples, after <see cref="ImageSteps"/>, that are images.</summary>
    public double ImageShare { get; set; } = 0.3;

    /// <summary>Probability of training without a prompt.</summary>
    public double TextDrop { get; set; } = 0.1;

    /// <summary>Largest share of noise mixed into the history.</summary>
    public double CorruptRatio { get; set; } = 1 / 3.0;

    /// <summary>How the weights step.</summary>
    [JsonConverter(typeof(PlainEnumConverter<DitOptimizer>))]
    public DitOptimizer Optimizer { get; set; } = DitOptimizer.AdamW;

    /// <summary>Steps after which the averaged weights are kept in a file of their own, <c>dit-STEP.safetensors</c>; steps of checkpoints.</summary>
    public IReadOnlyList<int> KeepSteps { get; set; } = [];

    /// <summary>What is made every <see cref="LoopConfig.SampleEvery"/> steps, to be looked at; null is nothing.</summary>
    public SampleOptions? Samples { get; set; }

    /// <summary>Reads a configuration file.</summary>
    /// <exception cref="ArgumentException">It is missing, malformed, holds an unknown key or an impossible value.</exception>
    /// <exception cref="CheckpointException">It does not describe a transformer.</exception>
    public static DitTrainingConfig Load(string path) =>
        TrainingConfigFile.Read(path, DitTrainingJson.Default.DitTrainingConfig).Check(path);

    private static IEnumerable<string> KnownKeys(ITransformerConfig transformer)
    {
        using var json = JsonDocument.Parse(transformer.ToJson());
        return [.. json.RootElement.EnumerateObject().Select(member => member.Name).Where(key => transformer.Others?.ContainsKey(key) != true)];
    }

    private DitTrainingConfig Check(string path)
    {
        if (transformer is not null)
            TransformerConfigs.Parse(transformer.ToJson(), path);
        var stages = ClipObjective.StagesOf(Objective);
        var unknown = transformer?.Others?.Keys.FirstOrDefault();
        transformer ??= StartFrom is { } model
            ? TransformerConfigs.Load(CheckpointFolder.Open(ConfigPaths.Model(path, "start_from", model)).Transformer().ConfigFile)
            : throw new ArgumentException($"{path}: transformer is missing: give its keys, or in start_from the model folder that has them");
        var fault =
            unknown is not null ? $"unknown key {unknown} in transformer, the nearest one there is {NearestName.Find(unknown, KnownKeys(Transformer))}"
            : Clips < 1 ? $"clips {Clips} is less than 1"
            : LatentFrames < 2 ? $"latent_frames {LatentFrames} is less than 2"
            : TurnShare is not (>= 0 and <= 1) ? FormattableString.Invariant($"turn_share {TurnShare} is not 0 to 1")
            : ShapeShares is { } shares && (shares.Count != Shapes || shares.Any(s => s is not (>= 0 and < double.PositiveInfinity)) || shares.Sum() <= 0)
                ? $"shape_shares takes {Shapes} numbers of at least 0, not all 0: for circle, square, triangle and star"
            : ExtraColourShare is not (>= 0 and <= 1) ? FormattableString.Invariant($"extra_colour_share {ExtraColourShare} is not 0 to 1")
            : Lora?.Fault() is { } lora ? $"lora: {lora}"
            : Lora is not null && (NewWeights || KeepSteps.Count > 0) ? "a LoRA adds to the weights of start_from and is kept alone: leave new_weights and keep_steps out"
            : Batch.Count != stages ? $"batch has {Batch.Count} numbers: give {stages}, one for each stage"
            : Objective == DitObjective.FullSequence && Transformer.UseTemporalCausal ? "full_sequence lets every frame see every other: set use_temporal_causal to false in transformer"
            : Workers < 1 || Batch.Any(b => b < 1 || b % Workers != 0)
                ? $"batch [{string.Join(", ", Batch)}] cannot be shared by {Workers} workers: use multiples"
            : SampleOptions.Fault(Samples, SampleEvery) ?? LoopFault()
            ?? (KeepSteps.Any(step => step % CheckpointEvery != 0)
                ? $"keep_steps [{string.Join(", ", KeepSteps)}] are not all multiples of checkpoint_every {CheckpointEvery}: weights are kept at checkpoints" : null);
        return fault is null ? this : throw new ArgumentException($"{path}: {fault}");
    }
}

/// <summary>What a transformer learns.</summary>
public enum DitObjective
{
    /// <summary>The next unit from its history, at one of three stages, with the temporal pyramid: the paper's.</summary>
    Pyramid,

    /// <summary>All frames of a clip together at full resolution, in one stage: plain flow matching.</summary>
    FullSequence,
}

/// <summary>Optimisers of the transformer's training.</summary>
public enum DitOptimizer
{
    /// <summary>AdamW for all weights, as released.</summary>
    AdamW,

    /// <summary>Muon for the matrices inside the blocks, AdamW for the others.</summary>
    Muon,
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    ReadCommentHandling = JsonCommentHandling.Skip, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(DitTrainingConfig))]
internal sealed partial class DitTrainingJson : JsonSerializerContext;
