using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Default settings of a checkpoint for pipelines; stored in <c>pipeline.json</c>.</summary>
/// <param name="Latent">Shift and scale of latents.</param>
/// <param name="PromptSuffix">Text appended to every prompt; may be empty.</param>
/// <param name="NegativePrompt">Negative prompt of guidance; may be empty.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Frames">Frames of a video, 1 plus a multiple of 8; 1 is a still image.</param>
/// <param name="FramesPerSecond">Frames per second.</param>
/// <param name="Steps">Steps of each pyramid stage for the first unit, lowest resolution first.</param>
/// <param name="VideoSteps">Steps of each pyramid stage for the later units.</param>
/// <param name="Guidance">Guidance scale of the first unit; 0 is off.</param>
/// <param name="VideoGuidance">Guidance scale of the later units.</param>
/// <param name="MaxLatentFrames">Latent frames of the longest clip the checkpoint was trained on.</param>
public sealed record PipelineSettings(
    LatentNormalization Latent,
    string PromptSuffix,
    string NegativePrompt,
    int Width,
    int Height,
    int Frames,
    double FramesPerSecond,
    IReadOnlyList<int> Steps,
    IReadOnlyList<int> VideoSteps,
    double Guidance,
    double VideoGuidance,
    int MaxLatentFrames = 16)
{
    /// <summary>
    /// Whether the transformer was trained on whole clips at full resolution. All frames are then generated together, with the steps
    /// and the guidance of the first unit.
    /// </summary>
    public bool FullSequence { get; init; }

    /// <summary>What the transformer was distilled to; null where it was not.</summary>
    public DistilledSettings? Distilled { get; init; }

    /// <summary>Name of the file in a checkpoint folder.</summary>
    public const string FileName = "pipeline.json";

    /// <summary>Settings of the released system's demo.</summary>
    /// <param name="family">Kind of transformer.</param>
    /// <param name="variant">Variant: <c>768p</c> and <c>image</c> have their own sizes, all others 640x384.</param>
    public static PipelineSettings Released(ModelFamily family, string variant)
    {
        var (width, height, frames, guidance, longest) = variant switch
        {
            "768p" => (1280, 768, 121, 9.0, 31),
            "image" => (1024, 1024, 1, 9.0, 1),
            _ => (640, 384, 121, 7.0, 16),
        };
        return new PipelineSettings(
            family.Latent,
            ", hyper quality, Ultra HD, 8K",
            "cartoon style, worst quality, low quality, blurry, absolute black, absolute white, low res, extra limbs, extra digits, misplaced objects, mutated anatomy, monochrome, horror",
            width, height, frames, 24, [20, 20, 20], [10, 10, 10], guidance, 5, longest);
    }

    /// <summary>Reads a <c>pipeline.json</c>; missing keys have their defaults.</summary>
    /// <param name="path">The file.</param>
    /// <param name="defaults">Values of missing keys.</param>
    /// <exception cref="CheckpointException">The file is not JSON, or a key is unknown or has an invalid value.</exception>
    public static PipelineSettings Read(string path, PipelineSettings defaults)
    {
        var settings = ConfigFile.Read(path, ConfigJson.Default.PipelineJson).Over(defaults);
        settings.Check(path);
        return settings;
    }

    /// <summary>Writes a <c>pipeline.json</c> with all keys; replaces an existing file atomically.</summary>
    /// <exception cref="CheckpointException">A value is invalid.</exception>
    public void Write(string path)
    {
        Check(path);
        var partial = $"{path}.partial-{Environment.ProcessId}";
        File.WriteAllBytes(partial, JsonSerializer.SerializeToUtf8Bytes(PipelineJson.From(this), ConfigJson.Default.PipelineJson));
        File.Move(partial, path, overwrite: true);
    }

    private void Check(string file)
    {
        ConfigFile.RequirePositive(file, ("image_scale", Latent.ImageScale), ("video_scale", Latent.VideoScale),
            ("width", Width), ("height", Height), ("frames", Frames), ("fps", FramesPerSecond),
            ("max_latent_frames", MaxLatentFrames));
        foreach (var (key, shift) in (ReadOnlySpan<(string, double)>)[("image_shift", Latent.ImageShift), ("video_shift", Latent.VideoShift)])
        {
            if (!double.IsFinite(shift))
                throw ConfigFile.Fault(file, key, "is not a finite number");
        }

        if (Frames % 8 != 1)
            throw ConfigFile.Fault(file, "frames", $"is {Frames}; it must be 1 more than a multiple of 8, such as {(Frames / 8 * 8) + 1}");
        foreach (var (key, steps) in (ReadOnlySpan<(string, IReadOnlyList<int>)>)[("steps", Steps), ("video_steps", VideoSteps)])
        {
            if (steps.Count == 0 || steps.Any(n => n < 1))
                throw ConfigFile.Fault(file, key, "must be a list of positive numbers, one for each pyramid stage");
        }

        foreach (var (key, scale) in (ReadOnlySpan<(string, double)>)[("guidance", Guidance), ("video_guidance", VideoGuidance)])
        {
            if (!(scale >= 0 && double.IsFinite(scale)))
                throw ConfigFile.Fault(file, key, FormattableString.Invariant($"is {scale}; use 0 for no guidance, or a positive scale"));
        }

        if (Distilled is not { } distilled)
            return;
        foreach (var (key, scale) in (ReadOnlySpan<(string, double?)>)[("distilled.guidance", distilled.Guidance), ("distilled.video_guidance", distilled.VideoGuidance)])
        {
            if (scale is { } built && !(built > 0 && double.IsFinite(built)))
                throw ConfigFile.Fault(file, key, FormattableString.Invariant($"is {built}; it is the scale that the weights contain, a positive one"));
        }

        if (distilled.Steps < 1)
            throw ConfigFile.Fault(file, "distilled.steps", FormattableString.Invariant($"is {distilled.Steps}; it is the number of steps of a stage, at least 1"));
        if (distilled.ContainsGuidance && (Guidance > 0 || VideoGuidance > 0))
            throw ConfigFile.Fault(file, Guidance > 0 ? "guidance" : "video_guidance", "asks for guidance, which the weights contain (distilled); use 0");
    }
}

/// <summary>What a transformer learned from another one, so that it needs less work: guidance, few steps, or both.</summary>
/// <param name="Guidance">Guidance scale of the first unit that its velocity contains: one row does the work of two. Null: it needs guidance as its teacher did.</param>
/// <param name="VideoGuidance">The same of the later units.</param>
/// <param name="Steps">Steps of each stage that it was trained for, of equal length; null for any number.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record DistilledSettings(double? Guidance = null, double? VideoGuidance = null, int? Steps = null)
{
    /// <summary>Whether its velocity contains guidance, so that there is nothing to guide.</summary>
    internal bool ContainsGuidance => Guidance is not null || VideoGuidance is not null;
}

/// <summary>
/// Normalisation of latents for the transformer: (z - shift) * scale. The first latent frame has the statistics of images, the
/// later ones those of video.
/// </summary>
/// <param name="ImageShift">Mean of image latents.</param>
/// <param name="ImageScale">1 / standard deviation of image latents.</param>
/// <param name="VideoShift">Mean of the latents of later frames.</param>
/// <param name="VideoScale">1 / standard deviation of the latents of later frames.</param>
public sealed record LatentNormalization(double ImageShift, double ImageScale, double VideoShift, double VideoScale);

/// <summary>Content of <c>pipeline.json</c>. All keys are optional; unknown keys are errors.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record PipelineJson(
    double? ImageShift = null,
    double? ImageScale = null,
    double? VideoShift = null,
    double? VideoScale = null,
    string? PromptSuffix = null,
    string? NegativePrompt = null,
    int? Width = null,
    int? Height = null,
    int? Frames = null,
    double? Fps = null,
    IReadOnlyList<int>? Steps = null,
    IReadOnlyList<int>? VideoSteps = null,
    double? Guidance = null,
    double? VideoGuidance = null,
    int? MaxLatentFrames = null,
    bool? FullSequence = null,
    DistilledSettings? Distilled = null)
{
    internal static PipelineJson From(PipelineSettings s) => new(
        s.Latent.ImageShift, s.Latent.ImageScale, s.Latent.VideoShift, s.Latent.VideoScale, s.PromptSuffix, s.NegativePrompt,
        s.Width, s.Height, s.Frames, s.FramesPerSecond, s.Steps, s.VideoSteps, s.Guidance, s.VideoGuidance,
        s.MaxLatentFrames, s.FullSequence ? true : null, s.Distilled);

    internal PipelineSettings Over(PipelineSettings d) => new(
        new LatentNormalization(ImageShift ?? d.Latent.ImageShift, ImageScale ?? d.Latent.ImageScale,
            VideoShift ?? d.Latent.VideoShift, VideoScale ?? d.Latent.VideoScale),
        PromptSuffix ?? d.PromptSuffix, NegativePrompt ?? d.NegativePrompt, Width ?? d.Width, Height ?? d.Height,
        Frames ?? d.Frames, Fps ?? d.FramesPerSecond, Steps ?? d.Steps, VideoSteps ?? d.VideoSteps,
        Guidance ?? d.Guidance, VideoGuidance ?? d.VideoGuidance, MaxLatentFrames ?? d.MaxLatentFrames)
    {
        FullSequence = FullSequence ?? d.FullSequence,
        Distilled = Distilled ?? d.Distilled,
    };
}

/// <summary>Source-generated JSON of <c>pipeline.json</c> and of configs without a record.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true)]
[JsonSerializable(typeof(PipelineJson))]
[JsonSerializable(typeof(Dictionary<string, JsonElement>))]
internal sealed partial class ConfigJson : JsonSerializerContext;
