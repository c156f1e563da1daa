using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Scheduling;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Dit;

/// <summary>Configuration of <c>train dit</c> and <c>train lora</c> on videos, images or latents; read from JSON. The defaults are those of the released runs.</summary>
public sealed record DitConfig : HeldOutConfig
{
    private const string SyncGroupKey = "video_sync_group";
    private const int UsualSyncGroup = 8;

    private double? textDrop;

    /// <summary>Sets the defaults of the released runs.</summary>
    public DitConfig() => AverageDecay = 0;

    /// <summary>
    /// Name or folder of a model in the released layout, which provides the initial transformer, VAE, text encoders and latent statistics.
    /// A folder is relative to the configuration file.
    /// </summary>
    public required string Model { get; set; }

    /// <summary>Variant of the transformer, such as <c>384p</c>; null is the folder's first one.</summary>
    public string? Variant { get; set; }

    /// <summary>Whether the transformer starts with new weights drawn from the seed instead of the folder's.</summary>
    public bool FromScratch { get; set; }

    /// <summary>The LoRA that <c>train lora</c> trains on top of frozen weights; null trains the weights.</summary>
    public LoraConfig? Lora { get; set; }

    /// <summary>What the student of <c>train distill</c> learns from its teacher; null learns from the items.</summary>
    public DistillConfig? Distill { get; set; }

    /// <summary>The items and how they are cropped.</summary>
    public required DataOptions Data { get; set; }

    /// <summary>Input of the training: <c>media</c> are encoded by the VAE in every step, <c>latents</c> were extracted before.</summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<DitInput>))]
    public DitInput Input { get; set; }

    /// <summary>Form of the captions: <c>text</c> is encoded in every step, <c>features</c> were extracted before.</summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<CaptionForm>))]
    public CaptionForm Captions { get; set; } = CaptionForm.Text;

    /// <summary>
    /// <c>autoregressive</c> trains on the last unit of a clip, given its history at decreasing resolution (the temporal pyramid);
    /// <c>full_sequence</c> trains on whole clips.
    /// </summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<TemporalObjective>))]
    public TemporalObjective Objective { get; set; }

    /// <summary>Batch size of one process: a multiple of the sum of <see cref="SampleRatios"/> and of <see cref="LoopConfig.Workers"/>.</summary>
    public int Batch { get; set; } = 4;

    /// <summary>Share of a batch for each stage, lowest resolution first.</summary>
    public IReadOnlyList<int> SampleRatios { get; set; } = [1, 2, 1];

    /// <summary>Largest share of noise in the corrupted history.</summary>
    public double CorruptRatio { get; set; } = 1 / 3.0;

    /// <summary>Probability of dropping the prompt. A student that contains guidance, and so is never without a prompt, has 0 where the configuration gives none.</summary>
    public double TextDrop
    {
        get => DistillConfig.TextDropOf(textDrop, Distill);
        set => textDrop = value;
    }

    /// <summary>Latent frames of each unit after the first.</summary>
    public int FramePerUnit { get; set; } = 1;

    /// <summary>Length of the longest clip in latent frames, to which the lengths of the stages add up.</summary>
    public int MaxTemporalLength { get; set; } = 16;

    /// <summary>
    /// Number of processes that share their clips and train on different lengths of them. Null: 8 where their number is a multiple of 8, otherwise each process has clips of its own. With
    /// <see cref="LoopConfig.BatchesPerStep"/> nothing is shared.
    /// </summary>
    public int? VideoSyncGroup { get; set; }

    /// <summary>Frames to encode by the VAE at a time, a multiple of 8; null encodes whole clips.</summary>
    public int? VaeWindow { get; set; }

    /// <summary>Samples to generate every <see cref="LoopConfig.SampleEvery"/> steps; null generates none.</summary>
    public SampleOptions? Samples { get; set; }

    /// <summary>Device: <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>; with several processes on one machine, <c>cuda</c> is the GPU of the local rank.</summary>
    public string Device { get; set; } = "cpu";

    /// <inheritdoc/>
    // Only the additions of a LoRA move, and they begin at zero.
    protected override double UsualLearningRate => Lora is null ? EarlierLearningRate : 1e-4;

    /// <inheritdoc/>
    protected override double EarlierLearningRate => 5e-5;

    /// <inheritdoc/>
    internal override IEnumerable<(string Key, string Value)> Kept => [.. base.Kept, (SyncGroupKey, (VideoSyncGroup ?? 0).ToString(CultureInfo.InvariantCulture))];

    /// <summary>Number of processes that read the same clips.</summary>
    /// <param name="processes">Number of all processes.</param>
    /// <exception cref="TrainingException">They cannot be grouped.</exception>
    internal int SharingOf(int processes)
    {
        if (BatchesPerStep is not null || Objective != TemporalObjective.Autoregressive)
            return 1;
        var sharing = VideoSyncGroup is { } group ? Math.Min(group, processes) : processes % UsualSyncGroup == 0 ? UsualSyncGroup : 1;
        return processes % sharing == 0 ? sharing : throw TrainingFault.ProcessesNotGrouped(processes, sharing);
    }

    /// <summary>Settings of pipelines that use the trained transformer.</summary>
    /// <param name="model">Those of the model, or of the teacher.</param>
    internal PipelineSettings SettingsOf(PipelineSettings model)
    {
        var settings = (Distill is null && Lora is null ? WithoutDistillation(model) : model) with { FullSequence = Objective == TemporalObjective.FullSequence };
        return Distill is { } distill ? distill.Settings(settings, distill.RoundCount - 1) : settings;
    }

    // Weights that learn from data lose what they were distilled to: they are sampled as others of their family, with the guidance that they contained.
    private PipelineSettings WithoutDistillation(PipelineSettings model)
    {
        if (model.Distilled is not { } distilled)
            return model;
        var usual = PipelineSettings.Released(ModelFamilies.Flux, Variant ?? "");
        return model with
        {
            Distilled = null,
            Guidance = distilled.Guidance ?? model.Guidance,
            VideoGuidance = distilled.VideoGuidance ?? model.VideoGuidance,
            Steps = Of(model.Steps, usual.Steps),
            VideoSteps = Of(model.VideoSteps, usual.VideoSteps),
        };

        IReadOnlyList<int> Of(IReadOnlyList<int> own, IReadOnlyList<int> steps) => distilled.Steps is null ? own : own.Count == steps.Count ? steps : [steps.Sum()];
    }

    /// <summary>Number of processes that train on different lengths at the same time.</summary>
    internal int LengthGroup => VideoSyncGroup ?? UsualSyncGroup;

    /// <inheritdoc/>
    // In earlier versions up to 8 processes shared their clips.
    private protected override void Keep(Func<string, double?> value)
    {
        base.Keep(value);
        VideoSyncGroup ??= value(SyncGroupKey) switch { null => UsualSyncGroup, 0 => null, { } group => (int)group };
    }

    /// <summary>Reads a configuration.</summary>
    /// <exception cref="TrainingException">The file is missing or malformed, or contains an unknown key or an invalid value.</exception>
    public static DitConfig Load(TrainingConfigSource source) => TrainingConfigFile.Read(source, DitJson.Default.DitConfig).Check(source.Path);

    /// <summary>Resolves the paths of the configuration.</summary>
    /// <param name="path">The configuration file.</param>
    /// <exception cref="TrainingException">The model does not exist, or a path is relative to the working folder.</exception>
    internal DitConfig Find(string path)
    {
        Model = ConfigPaths.Model(path, "model", Model);
        Data.Find(path);
        return this;
    }

    private DitConfig Check(string path)
    {
        // Before a plan, which divides by them.
        new ObjectiveOptions { SampleRatios = SampleRatios, CorruptRatio = CorruptRatio, FramesPerUnit = FramePerUnit }.Check(new PyramidFlowScheduler().Stages.Count);
        var parts = Workers * SampleRatios.Sum();
        var fault =
            parts > 0 && (Batch < 1 || Batch % parts != 0)
                ? TrainingFault.BatchNotDealt(path, Batch, Workers, SampleRatios, parts)
            : TextDrop is not (>= 0 and <= 1) ? TrainingFault.NoShare(path, "text_drop", TextDrop)
            : MaxTemporalLength < 1 ? TrainingFault.TooSmall(path, "max_temporal_length", MaxTemporalLength, 1)
            : VideoSyncGroup is { } group && group < 1 ? TrainingFault.TooSmall(path, SyncGroupKey, group, 1)
            : VaeWindow is { } window && (window < 8 || window % 8 != 0) ? TrainingFault.NotMultiple(path, "vae_window", window, 8)
            : Captions == CaptionForm.None ? TrainingFault.NoCaptions(path)
            : Input == DitInput.Media && Captions == CaptionForm.Features ? TrainingFault.FeaturesOfMedia(path)
            : Lora?.Fault() is { } lora ? TrainingFault.LoraInvalid(path, lora)
            : Distill is not null && FromScratch ? TrainingFault.DistillFromScratch(path)
            : Distill?.Fault(path, Steps, Lora, Objective == TemporalObjective.FullSequence) ?? SampleOptions.Fault(path, Samples, SampleEvery) ?? LoopFault(path);
        return fault is null ? this : throw fault;
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    ReadCommentHandling = JsonCommentHandling.Skip, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(DitConfig))]
internal sealed partial class DitJson : JsonSerializerContext;

/// <summary>Input of a transformer's training.</summary>
public enum DitInput
{
    /// <summary>Videos and images, encoded by the VAE during training.</summary>
    Media,

    /// <summary>Extracted latents.</summary>
    Latents,
}

/// <summary>Temporal objective of a transformer's training.</summary>
public enum TemporalObjective
{
    /// <summary>The last unit of a clip, given its history at decreasing resolution.</summary>
    Autoregressive,

    /// <summary>The whole clip.</summary>
    FullSequence,
}
