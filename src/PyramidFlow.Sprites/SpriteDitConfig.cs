using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Sprites;

/// <summary>Configuration of <c>train dit</c> and <c>train lora</c> on the sprites world; read from JSON.</summary>
public sealed record SpriteDitConfig : HeldOutConfig
{
    private const int Shapes = 4;

    private ITransformerConfig? transformer;
    private double? textDrop;

    /// <summary>Sets the defaults for the sprites world.</summary>
    public SpriteDitConfig()
    {
        Workers = 2;
        (Schedule, AverageHorizon) = (LearningRateShape.LinearSecondHalf, 0.05);
    }

    /// <summary>The network, of any family; if omitted, that of <see cref="StartFrom"/>.</summary>
    [JsonConverter(typeof(TransformerConfigConverter))]
    public ITransformerConfig Transformer
    {
        get => transformer ?? throw new InvalidOperationException("the configuration names no transformer");
        set => transformer = value;
    }

    /// <summary>
    /// Name or folder of the model to continue from: transformer weights, text encoders and VAE; null starts from nothing. A folder is relative
    /// to the configuration file.
    /// </summary>
    public string? StartFrom { get; set; }

    /// <summary>The LoRA that <c>train lora</c> trains on top of frozen weights; null trains the weights.</summary>
    public LoraConfig? Lora { get; set; }

    /// <summary>What the student of <c>train distill</c> learns from its teacher; null learns from the clips.</summary>
    public DistillConfig? Distill { get; set; }

    /// <summary>Whether to draw new transformer weights from the seed instead of those of <see cref="StartFrom"/>.</summary>
    public bool NewWeights { get; set; }

    /// <summary>Training objective: <c>pyramid</c> or <c>full_sequence</c>.</summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<SpriteObjective>))]
    public SpriteObjective Objective { get; set; }

    /// <summary>Number of clips in the cached data set.</summary>
    public int Clips { get; set; } = 12_000;

    /// <summary>Latent frames of a cached clip: one image and the following units.</summary>
    public int LatentFrames { get; set; } = 7;

    /// <summary>Share of the cached clips in which the sprite turns and the prompt changes.</summary>
    public double TurnShare { get; set; }

    /// <summary>
    /// Sampling weights of the shapes, in the order of <see cref="SpriteShape"/>, in any unit. Null samples all clips equally, a quarter for each
    /// shape.
    /// </summary>
    public IReadOnlyList<double>? ShapeShares { get; set; }

    /// <summary>A colour to paint a share of the cached clips in, such as one that the model does not know; null paints none.</summary>
    [JsonConverter(typeof(PlainEnumConverter<SpriteColour>))]
    public SpriteColour? ExtraColour { get; set; }

    /// <summary>Share of the clips in <see cref="ExtraColour"/>.</summary>
    public double ExtraColourShare { get; set; } = 0.5;

    /// <summary>Number of initial steps that train on images only.</summary>
    public int ImageSteps { get; set; }

    /// <summary>Batch size of each stage, lowest resolution first; a single number for the full-sequence objective.</summary>
    public IReadOnlyList<int> Batch { get; set; } = [32, 32, 32];

    /// <summary>Share of images among the samples after <see cref="ImageSteps"/>.</summary>
    public double ImageShare { get; set; } = 0.3;

    /// <summary>Probability of dropping the prompt. A student that contains guidance, and so is never without a prompt, has 0 where the configuration gives none.</summary>
    public double TextDrop
    {
        get => DistillConfig.TextDropOf(textDrop, Distill);
        set => textDrop = value;
    }

    /// <summary>Largest share of noise in the corrupted history.</summary>
    public double CorruptRatio { get; set; } = 1 / 3.0;

    /// <summary>Optimizer.</summary>
    [JsonConverter(typeof(PlainEnumConverter<SpriteOptimizer>))]
    public SpriteOptimizer Optimizer { get; set; } = SpriteOptimizer.AdamW;

    /// <summary>Steps whose EMA is kept in a file <c>dit-STEP.safetensors</c>; they must be steps of checkpoints.</summary>
    public IReadOnlyList<int> KeepSteps { get; set; } = [];

    /// <summary>Samples to generate every <see cref="LoopConfig.SampleEvery"/> steps; null generates none.</summary>
    public SampleOptions? Samples { get; set; }

    /// <inheritdoc/>
    protected override double UsualLearningRate => 1.5e-3;

    /// <inheritdoc/>
    protected override int MostWarmUpSteps => 200;

    /// <summary>Reads a configuration.</summary>
    /// <exception cref="TrainingException">The file is missing or malformed, or contains an unknown key or an invalid value.</exception>
    /// <exception cref="CheckpointException">The transformer is invalid.</exception>
    public static SpriteDitConfig Load(TrainingConfigSource source) =>
        TrainingConfigFile.Read(source, SpriteDitJson.Default.SpriteDitConfig).Check(source.Path);

    private static IEnumerable<string> KnownKeys(ITransformerConfig transformer)
    {
        using var json = JsonDocument.Parse(transformer.ToJson());
        return [.. json.RootElement.EnumerateObject().Select(member => member.Name).Where(key => transformer.Others?.ContainsKey(key) != true)];
    }

    private SpriteDitConfig Check(string path)
    {
        if (transformer is not null)
            TransformerConfigs.Parse(transformer.ToJson(), path);
        var stages = ClipObjective.StagesOf(Objective);
        var unknown = transformer?.Others?.Keys.FirstOrDefault();
        transformer ??= StartFrom is { } model
            ? TransformerConfigs.Load(CheckpointFolder.Open(ConfigPaths.Model(path, "start_from", model)).Transformer().ConfigFile)
            : throw TrainingFault.TransformerMissing(path);
        var fault =
            unknown is not null ? TrainingFault.UnknownKey(path, null, unknown, "transformer", NearestName.Find(unknown, KnownKeys(Transformer)))
            : Clips < 1 ? TrainingFault.TooSmall(path, "clips", Clips, 1)
            : LatentFrames < 2 ? TrainingFault.TooSmall(path, "latent_frames", LatentFrames, 2)
            : TurnShare is not (>= 0 and <= 1) ? TrainingFault.NoShare(path, "turn_share", TurnShare)
            : ShapeShares is { } shares && (shares.Count != Shapes || shares.Any(s => s is not (>= 0 and < double.PositiveInfinity)) || shares.Sum() <= 0)
                ? TrainingFault.ShapeSharesInvalid(path, Shapes)
            : ExtraColourShare is not (>= 0 and <= 1) ? TrainingFault.NoShare(path, "extra_colour_share", ExtraColourShare)
            : Lora?.Fault() is { } lora ? TrainingFault.LoraInvalid(path, lora)
            : Lora is not null && (NewWeights || KeepSteps.Count > 0) ? TrainingFault.LoraWithNewWeights(path)
            : Distill is not null && (StartFrom is null || NewWeights) ? TrainingFault.DistillWithoutModel(path)
            : Distill?.Fault(path, Steps, Lora, Objective == SpriteObjective.FullSequence) is { } distill ? distill
            : Optimizer == SpriteOptimizer.Muon && Shard != SharedState.None ? TrainingFault.MuonInShares(path)
            : Optimizer == SpriteOptimizer.Muon && Moments != MomentForm.Float32 ? TrainingFault.MuonInCodes(path)
            : Batch.Count != stages ? TrainingFault.BatchOfOtherStages(path, Batch.Count, stages)
            : Objective == SpriteObjective.FullSequence && Transformer.UseTemporalCausal ? TrainingFault.CausalFullSequence(path)
            : Workers < 1 || Batch.Any(b => b < 1 || b % Workers != 0) ? TrainingFault.BatchNotShared(path, Batch, Workers)
            : SampleOptions.Fault(path, Samples, SampleEvery) ?? LoopFault(path)
            ?? (KeepSteps.Any(step => step % CheckpointEvery != 0) ? TrainingFault.KeptBetweenCheckpoints(path, KeepSteps, CheckpointEvery) : null);
        return fault is null ? this : throw fault;
    }
}

/// <summary>Objective of a transformer's training.</summary>
public enum SpriteObjective
{
    /// <summary>The objective of the paper: the next unit given its history, at one of three stages, with the temporal pyramid.</summary>
    Pyramid,

    /// <summary>Plain flow matching: all frames of a clip together at full resolution, in one stage.</summary>
    FullSequence,
}

/// <summary>Optimizer of a transformer's training.</summary>
public enum SpriteOptimizer
{
    /// <summary>AdamW for all weights, as released.</summary>
    AdamW,

    /// <summary>Muon for the matrices inside the blocks, AdamW for the others.</summary>
    Muon,
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    ReadCommentHandling = JsonCommentHandling.Skip, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(SpriteDitConfig))]
internal sealed partial class SpriteDitJson : JsonSerializerContext;
