using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch.Formats;
using static System.FormattableString;

namespace PyramidFlow.Generation;

/// <summary>Fills in and checks requests. The scale of the released VAE is fixed here: 8x in space and time.</summary>
internal static class RequestResolver
{
    private const int Scale = VideoLength.Scale;

    internal static GenerationSettings Resolve(GenerationOptions request, PipelineSettings settings)
    {
        var stages = settings.Steps.Count;
        var multiple = FrameSizes.Multiple(settings);
        var width = Size("width", request.Width ?? request.Latents?.Width * Scale ?? settings.Width, multiple);
        var height = Size("height", request.Height ?? request.Latents?.Height * Scale ?? settings.Height, multiple);
        if ((long)width * height > FrameSizes.MaxPixels)
            throw RequestFault.TooManyPixels(width, height, FrameSizes.MaxPixels, settings.Width, settings.Height);
        if (request.Count < 1)
            throw RequestFault.NoClips(request.Count);
        foreach (var (setting, text) in SettingsTable.Texts(request))
        {
            // Text encoders would replace such a character, and files that note the prompt cannot hold it.
            if (StrictText.FindFault(text) is not null)
                throw RequestFault.BrokenText(setting.Name);
        }

        var approximations = request.Approximations with { Solver = request.Solver ?? SolverOf(settings) };
        approximations.Check();
        if (request.FramesPerSecond is { } rate && rate is not (>= 1 and <= 240))
            throw RequestFault.FrameRate(rate);
        if (request.Loras?.FirstOrDefault(lora => !double.IsFinite(lora.Weight)) is { } unweighted)
            throw RequestFault.LoraWeight(unweighted.Weight);
        var conditioning = Conditioning(request, width, height);
        CheckConditioning(request, conditioning, settings, width, height);
        var length = ClipLength.Of(request, settings, conditioning);
        var sampling = new SamplingPlan(height / Scale, width / Scale, request.FramesPerUnit ?? 1,
            Steps("steps", "steps", request.Steps ?? settings.Steps, stages),
            Steps("video_steps", "video steps", request.VideoSteps ?? settings.VideoSteps, stages),
            Guidance(request, settings, length))
        {
            First = length.First,
            Window = length.Window,
            Approximations = approximations,
        };
        var options = request with
        {
            Prompt = request.Prompt ?? "",
            NegativePrompt = request.NegativePrompt ?? settings.NegativePrompt,
            PromptSuffix = request.PromptSuffix ?? settings.PromptSuffix,
            Width = width,
            Height = height,
            Frames = length.Made,
            Seconds = null,
            FramesPerSecond = request.FramesPerSecond ?? settings.FramesPerSecond,
            Steps = sampling.Steps,
            VideoSteps = sampling.VideoSteps,
            Guidance = request.Guidance ?? settings.Guidance,
            VideoGuidance = request.VideoGuidance ?? settings.VideoGuidance,
            FramesPerUnit = sampling.FramesPerUnit,
            Seed = request.Seed ?? 0,
            // What the model does by itself is no setting of the video.
            Solver = approximations.Solver == SolverOf(settings) ? null : approximations.Solver,
        };
        sampling = sampling with { Options = options };
        return new GenerationSettings(PromptPlan.Of(request, settings, conditioning, length), request.NegativePrompt ?? settings.NegativePrompt,
            width, height, length.Made + (request.NewFramesOnly == true ? 0 : length.Given), request.Seed ?? 0, sampling)
        {
            Conditioning = conditioning,
            Pixels = request.Image ?? request.Video,
            HistoryFrames = length.History,
            Latents = request.Latents,
            NewFramesOnly = request.NewFramesOnly ?? false,
            SampleImage = request.SampleImage ?? false,
            Warnings = [.. SizeWarnings(settings, width, height), .. StepWarnings(settings, sampling), .. length.Warnings],
        };
    }

    // A model that was distilled to few steps knows the points of equal steps only.
    private static IFlowSolver SolverOf(PipelineSettings settings) => settings.Distilled?.Steps is null ? FlowSolvers.Euler : FlowSolvers.Uniform;

    private static IEnumerable<string> StepWarnings(PipelineSettings settings, SamplingPlan sampling)
    {
        if (settings.Distilled?.Steps is { } steps && (sampling.Approximations.Solver != FlowSolvers.Uniform || sampling.Steps.Concat(sampling.VideoSteps).Any(count => count != steps)))
            yield return Invariant($"this checkpoint was distilled to {steps} {(steps == 1 ? "step" : "steps")} a stage with the solver {FlowSolvers.Uniform.Name}: other steps or solvers may look worse");
    }

    private static int Size(string what, int value, int multiple)
    {
        var (below, above) = ((long)value / multiple * multiple, ((long)value / multiple * multiple) + multiple);
        if (value <= 0)
            throw RequestFault.SizeNotPositive(what, value, multiple);
        return value % multiple == 0 ? value
            : throw RequestFault.SizeNotMultiple(what, value, multiple, below, above);
    }

    private static IEnumerable<string> SizeWarnings(PipelineSettings settings, int width, int height)
    {
        if ((width, height) != (settings.Width, settings.Height))
            yield return Invariant($"this checkpoint was trained on {settings.Width}x{settings.Height}: {width}x{height} may look worse");
    }

    // What is given, with or without its pixels.
    private static ConditioningInput? Conditioning(GenerationOptions request, int width, int height)
    {
        var frame = 3L * width * height;
        if (new[] { request.Image is not null, request.Video is not null, request.Latents is not null, request.Conditioning is not null }.Count(given => given) > 1)
            throw RequestFault.TwoBeginnings();
        if (request.Image is { } image && image.Length != frame)
            throw RequestFault.ImageBytes(image.Length, width, height, frame);
        if (request.Video is { } video && (video.Length == 0 || video.Length % frame != 0))
            throw RequestFault.VideoBytes(video.Length, width, height, frame);
        if (request.Conditioning is { } planned && (planned.Frames < 1 || planned.Kind == ConditioningKind.Latents || (planned.Kind == ConditioningKind.Image && planned.Frames > 1)))
            throw RequestFault.CannotBeReadLater(planned.Frames, planned.Kind.ToString());
        return request.Conditioning
            ?? (request.Image is not null ? ConditioningInput.Image
            : request.Video is { } frames ? ConditioningInput.Video((int)(frames.Length / frame))
            : request.Latents is { } latents ? new ConditioningInput(ConditioningKind.Latents, VideoLength.OfLatents(latents.Frames)) : null);
    }

    private static void CheckConditioning(GenerationOptions request, ConditioningInput? conditioning, PipelineSettings settings, int width, int height)
    {
        if (settings.FullSequence && (conditioning is not null || request.Schedule.Count > 0))
            throw RequestFault.NotUnitByUnit();
        if (request.NewFramesOnly == true && conditioning is not { IsContinued: true })
            throw RequestFault.NothingToLeaveOut();
        if (request.Latents is not { } latents)
            return;
        if ((latents.Width * Scale, latents.Height * Scale) != (width, height))
            throw RequestFault.LatentsOfOtherSize(latents.Width * Scale, latents.Height * Scale, width, height);
        latents.CheckNormalization(settings.Latent);
    }

    private static int[] Steps(string setting, string what, IReadOnlyList<int> steps, int stages)
    {
        if (steps is [var every])
            steps = [.. Enumerable.Repeat(every, stages)];
        if (steps.Count != stages)
            throw RequestFault.StepsPerStage(setting, what, steps.Count, stages);
        foreach (var count in steps)
        {
            if (count is < 1 or > 1000)
                throw RequestFault.StepsOutOfRange(setting, what, count);
        }

        return [.. steps];
    }

    private static double?[] Guidance(GenerationOptions request, PipelineSettings settings, ClipLength length)
    {
        if (settings.Distilled is { ContainsGuidance: true } distilled && Unneeded(request) is (var setting, var asked))
            throw RequestFault.GuidanceContained(setting, asked, distilled.Guidance, distilled.VideoGuidance);
        var first = Scaled("guidance", "guidance", request.Guidance ?? settings.Guidance);
        var later = Scaled("video_guidance", "video guidance", request.VideoGuidance ?? settings.VideoGuidance);
        if (request.LinearGuidance is not { } linear)
            return [.. Enumerable.Range(0, length.Units).Select(unit => Switch(unit == 0 ? first : later))];
        Scaled("linear_guidance", "the minimum of linear guidance", linear.Minimum);
        Scaled("linear_guidance", "the alpha of linear guidance", linear.Alpha);
        // Given latents count as the units that would have made them.
        var before = length.Given == 0 ? 0 : (length.First - 2 + (request.FramesPerUnit ?? 1)) / (request.FramesPerUnit ?? 1);
        return [.. Enumerable.Range(before, length.Units).Select(unit => Switch(first == 0 ? 0 : Math.Max(first - (linear.Alpha * unit), linear.Minimum)))];

        // A scale of 1 is the velocity with the prompt itself.
        static double? Switch(double scale) => scale is > 0 and not 1 ? scale : null;
    }

    // What asks for guidance; a scale of 0 or 1 needs none.
    private static (string Setting, object Asked)? Unneeded(GenerationOptions request) =>
        request.Guidance is { } first and not (0 or 1) ? ("guidance", first)
        : request.VideoGuidance is { } later and not (0 or 1) ? ("video_guidance", later)
        : request.LinearGuidance is { } linear ? ("linear_guidance", linear)
        : null;

    private static double Scaled(string setting, string what, double value) => value is >= 0 and <= float.MaxValue ? value
        : throw RequestFault.GuidanceOutOfRange(setting, what, value);
}

/// <summary>Assigns prompts to units.</summary>
internal static class PromptPlan
{
    internal static IReadOnlyList<UnitPrompt> Of(GenerationOptions request, PipelineSettings settings, ConditioningInput? conditioning, ClipLength length)
    {
        var suffix = request.PromptSuffix ?? settings.PromptSuffix;
        if (string.IsNullOrWhiteSpace(request.Prompt) && conditioning is null)
            throw RequestFault.EmptyPrompt();
        var prompts = new List<UnitPrompt> { new(conditioning is null ? 0 : 1, request.Prompt + suffix) };
        var before = 0.0;
        foreach (var (seconds, prompt) in request.Schedule)
        {
            if (!(seconds > before) || !double.IsFinite(seconds))
                throw RequestFault.PromptsOutOfOrder(seconds, before);
            if (string.IsNullOrWhiteSpace(prompt))
                throw RequestFault.EmptyPrompt(seconds);
            prompts.Add(new UnitPrompt(Unit(seconds), prompt + suffix));
            if (prompts[^1].FromUnit <= prompts[^2].FromUnit)
                throw RequestFault.PromptsTooClose(seconds, before, UnitSeconds());
            before = seconds;
        }

        return prompts;

        int Unit(double seconds)
        {
            // The first frame of a clip is a unit of its own.
            var frame = (seconds * settings.FramesPerSecond) - (length.Given > 0 ? 0 : 1);
            var unit = 1 + Math.Max(0, Math.Round(frame / (VideoLength.Scale * (request.FramesPerUnit ?? 1))));
            return unit < length.Units ? (int)unit
                : throw RequestFault.PromptTooLate(seconds, length.Made / settings.FramesPerSecond);
        }

        double UnitSeconds() => VideoLength.Scale * (request.FramesPerUnit ?? 1) / settings.FramesPerSecond;
    }
}

/// <summary>Possible frame sizes.</summary>
internal static class FrameSizes
{
    /// <summary>Most pixels of a frame: far more than any released checkpoint was trained on, but few enough to catch typing errors.</summary>
    public const int MaxPixels = 1 << 24;

    /// <summary>The number that width and height in pixels are multiples of: VAE x patch x 2 for each further stage.</summary>
    /// <param name="settings">The checkpoint's; its steps say how many stages the pyramid has.</param>
    public static int Multiple(PipelineSettings settings) => VideoLength.Scale * Patches.Size << (settings.Steps.Count - 1);
}
