using System.Security.Cryptography;
using PyramidFlow.Hub;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Worker;

/// <summary>Checks what is asked for against its model and the service's limits, before anything is decoded or computed.</summary>
/// <param name="catalog">Finds the model.</param>
/// <param name="limits">What users may ask for.</param>
internal sealed class RequestCheck(ModelCatalog catalog, ServerLimits limits)
{
    /// <summary>The request with every value filled in.</summary>
    /// <exception cref="JobException">It cannot be made; says what could be.</exception>
    public VideoRequest Complete(VideoRequest request)
    {
        var model = catalog.Find(request.Model);
        CheckTexts(request);
        CheckNumbers(request);
        var settings = model.Settings;
        request = request with
        {
            Model = model.Id,
            NegativePrompt = request.NegativePrompt ?? settings.NegativePrompt,
            PromptSuffix = request.PromptSuffix ?? settings.PromptSuffix,
            Steps = request.Steps ?? settings.Steps,
            VideoSteps = request.VideoSteps ?? settings.VideoSteps,
            Guidance = request.Guidance ?? settings.Guidance,
            VideoGuidance = request.VideoGuidance ?? settings.VideoGuidance,
            Seed = request.Seed ?? (ulong)RandomNumberGenerator.GetInt32(int.MaxValue),
        };
        var resolved = Resolve(Imagined(request, settings), settings);
        var goesOn = request.Input?.Kind == VideoInputKind.Video;
        var frames = goesOn ? (resolved.Sampling.Units - 1) * VideoLength.Scale : resolved.Frames;
        if (frames > limits.Frames)
            throw Invalid(request.Frames is null ? "seconds" : "num_frames", $"{frames} frames are more than this service makes at once: ask for at most {limits.Frames}");
        if (resolved.Width % 2 != 0 || resolved.Height % 2 != 0)
            throw Invalid("size", "width and height must be even");
        return request with
        {
            Width = resolved.Width,
            Height = resolved.Height,
            Frames = frames,
            Seconds = Math.Round((goesOn ? frames : frames - 1) / settings.FramesPerSecond, 2),
        };
    }

    private void CheckTexts(VideoRequest request)
    {
        if (string.IsNullOrWhiteSpace(request.Prompt) && request.Input is null)
            throw Invalid("prompt", "the prompt is empty: say what is to be seen, or give a picture to start from");
        foreach (var (name, text) in new[] { ("prompt", request.Prompt), ("negative_prompt", request.NegativePrompt), ("prompt_suffix", request.PromptSuffix) }
            .Concat(request.Schedule.Select(change => ("prompts", (string?)change.Prompt))))
        {
            if (text?.Length > limits.PromptLength)
                throw Invalid(name, $"the text has {text.Length} characters: shorten it to {limits.PromptLength}");
            if (StrictText.FindFault(text) is { } fault)
                throw Invalid(name, $"the text {fault}");
        }
    }

    private void CheckNumbers(VideoRequest request)
    {
        if (request.FramesPerSecond is { } fps && !(fps is >= 1 and <= 240))
            throw Invalid("fps", FormattableString.Invariant($"{fps} frames per second cannot be played: use 1 to 240"));
        foreach (var (name, steps) in new[] { ("num_inference_steps", request.Steps), ("video_steps", request.VideoSteps) })
        {
            if (steps?.FirstOrDefault(count => count > limits.Steps || count < 1) is { } wrong and not 0 || steps?.Contains(0) == true)
                throw Invalid(name, $"steps of a stage are 1 to {limits.Steps}");
        }

        foreach (var (name, scale) in new[] { ("guidance_scale", request.Guidance), ("video_guidance_scale", request.VideoGuidance) })
        {
            if (scale is { } value && !(value is >= 0 and <= 100))
                throw Invalid(name, "guidance is 0 (off) to 100");
        }
    }

    // With a black picture in place of one that is yet to be read.
    private static GenerationOptions Imagined(VideoRequest request, PipelineSettings settings)
    {
        var generation = request.ToGeneration();
        if (request.Input is null)
            return generation;
        var (width, height) = (request.Width ?? settings.Width, request.Height ?? settings.Height);
        // A size is checked before the memory for it is taken.
        Resolve(new GenerationOptions { Prompt = "picture", Width = width, Height = height }, settings);
        var black = new byte[3 * width * height];
        return request.Input.Kind == VideoInputKind.Image ? generation with { Image = black } : generation with { Video = black };
    }

    private static GenerationSettings Resolve(GenerationOptions request, PipelineSettings settings)
    {
        try
        {
            return request.Resolve(settings);
        }
        catch (ArgumentException e) when (UserFault.Is(e))
        {
            throw new JobException(JobFault.Invalid, JobFaults.Sentence(e), e) { Parameter = Culprit(request, settings) };
        }
    }

    // The field with which it first becomes impossible.
    private static string? Culprit(GenerationOptions request, PipelineSettings settings)
    {
        var some = new GenerationOptions { Prompt = "some", Image = request.Image, Video = request.Video };
        ReadOnlySpan<(string Name, Func<GenerationOptions, GenerationOptions> Add)> fields =
        [
            ("size", so => so with { Width = request.Width, Height = request.Height }),
            (request.Frames is null ? "seconds" : "num_frames", so => so with { Frames = request.Frames, Seconds = request.Seconds }),
            ("num_inference_steps", so => so with { Steps = request.Steps }),
            ("video_steps", so => so with { VideoSteps = request.VideoSteps }),
            ("guidance_scale", so => so with { Guidance = request.Guidance }),
            ("video_guidance_scale", so => so with { VideoGuidance = request.VideoGuidance }),
            ("reuse_prefix", so => so with { Approximations = so.Approximations with { ReusePrefix = request.Approximations.ReusePrefix } }),
            ("guidance_every", so => so with { Approximations = so.Approximations with { GuidanceEvery = request.Approximations.GuidanceEvery } }),
            ("prompts", so => so with { Schedule = request.Schedule }),
            ("prompt", so => so with { Prompt = request.Prompt }),
        ];
        foreach (var (name, add) in fields)
        {
            some = add(some);
            try
            {
                some.Resolve(settings);
            }
            catch (ArgumentException)
            {
                return name;
            }
        }

        return null;
    }

    private static JobException Invalid(string parameter, string message) => new(JobFault.Invalid, message) { Parameter = parameter };
}
