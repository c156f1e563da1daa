using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>What a pipeline is asked for a video.</summary>
internal static class RequestGeneration
{
    /// <summary>The request without its picture or video.</summary>
    public static GenerationOptions ToGeneration(this VideoRequest request) => new()
    {
        Prompt = request.Prompt,
        Schedule = request.Schedule,
        NegativePrompt = request.NegativePrompt,
        PromptSuffix = request.PromptSuffix,
        Width = request.Width,
        Height = request.Height,
        Frames = request.Frames,
        Seconds = request.Frames is null ? request.Seconds : null,
        Steps = request.Steps,
        VideoSteps = request.VideoSteps,
        Guidance = request.Guidance,
        VideoGuidance = request.VideoGuidance,
        Approximations = Approximations.Of(request.ReusePrefix, request.GuidanceEvery, request.Solver),
        Seed = request.Seed ?? 0,
    };
}
