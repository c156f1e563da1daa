using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Models.Lora;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Dit;

/// <summary>What <c>train dit</c> and <c>train lora</c> do with videos, images or latents of one's own; read from JSON. The defaults are those of the released runs.</summary>
public sealed record DitConfig : LoopConfig
{
    /// <summary>As released.</summary>
    public DitConfig() => (LearningRate, WarmUpSteps, AverageDecay) = (5e-5, 1000, 0);

    /// <summary>
    /// Model in the released layout, its name or its folder: the transformer to start from, VAE, text encoders and latent statistics. A
    /// folder is seen from that of the configuration.
    /// </summary>
    public required string Model { get; set; }

    /// <summary>Which of the folder's transformers, such as <c>384p</c>; null is its first.</summary>
    public string? Variant { get; set; }

    /// <summary>Whether the transformer starts with new weights from the seed instead of the folder's.</summary>
    public bool FromScratch { get; set; }

    /// <summary>The additions that <c>train lora</c> trains beside the folder's weights; null trains the weights.</summary>
    public LoraConfig? Lora { get; set; }

    /// <summary>The items and how they are cut.</summary>
    public required DataOptions Data { get; set; }

    /// <summary>What is read of each item: <c>media</c> goes through the VAE in every step, <c>latents</c> were extracted before.</summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<DitInput>))]
    public DitInput Input { get; set; }

    /// <summary>What is read of the captions: <c>text</c> goes through the text encoders in every step, <c>features</c> were extracted before.</summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<CaptionForm>))]
    public CaptionForm Captions { get; set; } = CaptionForm.Text;

    /// <summary>
    /// <c>autoregressive</c> learns the last unit of a clip after its history at falling resolution (the temporal pyramid);
    /// <c>full_sequence</c> learns whole clips at once.
    /// </summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<TemporalObjective>))]
    public TemporalObjective Objective { get; set; }

    /// <summary>Items in a batch of one process: a multiple of the sum of <see cref="SampleRatios"/> and <see cref="LoopConfig.Workers"/>.</summary>
    public int Batch { get; set; } = 4;

    /// <summary>Share of a batch for each stage, lowest resolution first.</summary>
    public IReadOnlyList<int> SampleRatios { get; set; } = [1, 2, 1];

    /// <summary>Largest share of noise mixed into the history.</summary>
    public double CorruptRatio { get; set; } = 1 / 3.0;

    /// <summary>Probability of training without a prompt.</summary>
    public double TextDrop { get; set; } = 0.1;

    /// <summary>Latent frames of a unit after the first.</summary>
    public int FramePerUnit { get; set; } = 1;

    /// <summary>Latent frames of the longest clip, over which the stages' lengths go.</summary>
    public int MaxTemporalLength { get; set; } = 16;

    /// <summary>Processes that share their clips, each training other lengths of them.</summary>
    public int VideoSyncGroup { get; set; } = 8;

    /// <summary>Frames that go through the VAE at a time, a multiple of 8; null is whole clips.</summary>
    public int? VaeWindow { get; set; }

    /// <summary>What is made every <see cref="LoopConfig.SampleEvery"/> steps, to be looked at; null is nothing.</summary>
    public SampleOptions? Samples { get; set; }

    /// <summary>Where to compute: <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>; of several processes on one machine each takes the GPU of its number.</summary>
    public string Device { get; set; } = "cpu";

    /// <summary>Reads a configuration file.</summary>
    /// <exception cref="ArgumentException">It is missing, malformed, holds an unknown key or an impossible value.</exception>
    public static DitConfig Load(string path) => TrainingConfigFile.Read(path, DitJson.Default.DitConfig).Check(path);

    /// <summary>Finds what the paths lead to.</summary>
    /// <param name="path">File of the configuration.</param>
    /// <exception cref="ArgumentException">There is no such model, or a path is meant from the working folder.</exception>
    internal DitConfig Find(string path)
    {
        Model = ConfigPaths.Model(path, "model", Model);
        Data.Find(path);
        return this;
    }

    private DitConfig Check(string path)
    {
        var parts = Workers * SampleRatios.Sum();
        var fault =
            parts > 0 && (Batch < 1 || Batch % parts != 0)
                ? $"batch {Batch} cannot be dealt to {Workers} workers and sample_ratios [{string.Join(", ", SampleRatios)}]: use a multiple of {parts}"
            : TextDrop is not (>= 0 and <= 1) ? FormattableString.Invariant($"text_drop {TextDrop} is not 0 to 1")
            : MaxTemporalLength < 1 ? $"max_temporal_length {MaxTemporalLength} is less than 1"
            : VideoSyncGroup < 1 ? $"video_sync_group {VideoSyncGroup} is less than 1"
            : VaeWindow is { } window && (window < 8 || window % 8 != 0) ? $"vae_window {window} is not a multiple of 8"
            : Captions == CaptionForm.None ? "captions none leaves nothing to learn from: use text or features"
            : Input == DitInput.Media && Captions == CaptionForm.Features ? "captions features go with input latents: extract latents too, or use captions text"
            : Lora?.Fault() is { } lora ? $"lora: {lora}"
            : SampleOptions.Fault(Samples, SampleEvery) ?? LoopFault();
        return fault is null ? this : throw new ArgumentException($"{path}: {fault}");
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    ReadCommentHandling = JsonCommentHandling.Skip, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(DitConfig))]
internal sealed partial class DitJson : JsonSerializerContext;

/// <summary>What a transformer's training reads of each item.</summary>
public enum DitInput
{
    /// <summary>Videos and images, which go through the VAE.</summary>
    Media,

    /// <summary>Latents that were extracted before.</summary>
    Latents,
}

/// <summary>What a transformer learns of a clip.</summary>
public enum TemporalObjective
{
    /// <summary>Its last unit, after a history at falling resolution.</summary>
    Autoregressive,

    /// <summary>All of it at once.</summary>
    FullSequence,
}
