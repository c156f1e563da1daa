using PyramidFlow.Hub;
using static System.FormattableString;

namespace PyramidFlow.Generation;

/// <summary>Which unit is made with which prompt.</summary>
internal static class PromptPlan
{
    internal static IReadOnlyList<UnitPrompt> Of(GenerationOptions request, PipelineSettings settings, ClipLength length)
    {
        var suffix = request.PromptSuffix ?? settings.PromptSuffix;
        var isGiven = request.Image is not null || length.Given > 0;
        if (string.IsNullOrWhiteSpace(request.Prompt) && !isGiven)
            throw new ArgumentException("the prompt is empty: say what is to be seen, or give an image to go on from");
        var prompts = new List<UnitPrompt> { new(isGiven ? 1 : 0, request.Prompt + suffix) };
        var before = 0.0;
        foreach (var (seconds, prompt) in request.Schedule)
        {
            if (!(seconds > before) || !double.IsFinite(seconds))
                throw new ArgumentException(Invariant($"a prompt from second {seconds} on comes after one from second {before} on: later prompts need later times"));
            if (string.IsNullOrWhiteSpace(prompt))
                throw new ArgumentException(Invariant($"the prompt from second {seconds} on is empty: say what is to be seen"));
            prompts.Add(new UnitPrompt(Unit(seconds), prompt + suffix));
            if (prompts[^1].FromUnit <= prompts[^2].FromUnit)
                throw new ArgumentException(Invariant($"the prompts from second {before} and from second {seconds} on fall into one unit of {UnitSeconds():0.##} seconds: put them further apart"));
            before = seconds;
        }

        return prompts;

        int Unit(double seconds)
        {
            // The first frame of a clip is a unit by itself.
            var frame = (seconds * settings.FramesPerSecond) - (length.Given > 0 ? 0 : 1);
            var unit = 1 + Math.Max(0, Math.Round(frame / (VideoLength.Scale * (request.FramesPerUnit ?? 1))));
            return unit < length.Units ? (int)unit
                : throw new ArgumentException(Invariant($"a prompt from second {seconds} on comes too late for {length.Made / settings.FramesPerSecond:0.##} seconds of video: make it longer, or let the prompt begin earlier"));
        }

        double UnitSeconds() => VideoLength.Scale * (request.FramesPerUnit ?? 1) / settings.FramesPerSecond;
    }
}
