using System.Text.Json.Serialization;

namespace PyramidFlow.Hub;

/// <summary><c>pipeline.json</c> as it stands in the file; every key may be left out, none be misspelt.</summary>
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
    bool? FullSequence = null)
{
    internal static PipelineJson Of(PipelineSettings s) => new(
        s.Latent.ImageShift, s.Latent.ImageScale, s.Latent.VideoShift, s.Latent.VideoScale, s.PromptSuffix, s.NegativePrompt,
        s.Width, s.Height, s.Frames, s.FramesPerSecond, s.Steps, s.VideoSteps, s.Guidance, s.VideoGuidance,
        s.MaxLatentFrames, s.FullSequence ? true : null);

    internal PipelineSettings Over(PipelineSettings d) => new(
        new LatentNormalization(ImageShift ?? d.Latent.ImageShift, ImageScale ?? d.Latent.ImageScale,
            VideoShift ?? d.Latent.VideoShift, VideoScale ?? d.Latent.VideoScale),
        PromptSuffix ?? d.PromptSuffix, NegativePrompt ?? d.NegativePrompt, Width ?? d.Width, Height ?? d.Height,
        Frames ?? d.Frames, Fps ?? d.FramesPerSecond, Steps ?? d.Steps, VideoSteps ?? d.VideoSteps,
        Guidance ?? d.Guidance, VideoGuidance ?? d.VideoGuidance, MaxLatentFrames ?? d.MaxLatentFrames)
    {
        FullSequence = FullSequence ?? d.FullSequence,
    };
}
