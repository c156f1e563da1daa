using System.Globalization;
using PyramidFlow.Hub;
using PyramidFlow.Transformers;

namespace PyramidFlow.Pipelines;

/// <summary>Fills in and checks requests. What a VAE of the released family does is fixed here: 8x in space and time.</summary>
internal static class RequestResolver
{
    internal const int Scale = 8;

    internal static GenerationSettings Resolve(GenerationRequest request, PipelineSettings settings)
    {
        var stages = settings.Steps.Count;
        var prompt = Prompt(request, settings);
        var multiple = Scale * Patches.Size << (stages - 1);
        var width = Size("width", request.Width ?? settings.Width, multiple);
        var height = Size("height", request.Height ?? settings.Height, multiple);
        var frames = Frames(request, settings);
        CheckImage(request, width, height, frames);
        var units = 1 + ((frames - 1) / (Scale * request.FramesPerUnit));
        var sampling = new SamplingPlan(height / Scale, width / Scale, request.FramesPerUnit,
            Steps("steps", request.Steps ?? settings.Steps, stages),
            Steps("video steps", request.VideoSteps ?? settings.VideoSteps, stages),
            Guidance(request, settings, units));
        return new GenerationSettings(prompt, request.NegativePrompt ?? settings.NegativePrompt, width, height, frames, request.Seed,
            sampling, request.Image, request.SampleImage);
    }

    private static string Prompt(GenerationRequest request, PipelineSettings settings)
    {
        if (string.IsNullOrWhiteSpace(request.Prompt) && request.Image is null)
            throw new ArgumentException("the prompt is empty: say what is to be seen, or give an image to go on from");
        return request.Prompt + (request.PromptSuffix ?? settings.PromptSuffix);
    }

    private static int Size(string what, int value, int multiple)
    {
        var (below, above) = ((long)value / multiple * multiple, ((long)value / multiple * multiple) + multiple);
        if (value <= 0)
            throw new ArgumentException(Invariant($"{what} {value} is not positive: use a multiple of {multiple}, such as {multiple}"));
        return value % multiple == 0 ? value
            : throw new ArgumentException(Invariant($"{what} {value} is not a multiple of {multiple}: use {Either(below, above)}"));
    }

    private static int Frames(GenerationRequest request, PipelineSettings settings)
    {
        if (request.FramesPerUnit is < 1 or > 1024)
            throw new ArgumentException(Invariant($"{request.FramesPerUnit} latent frames per unit are not 1 to 1024: use 1"));
        var frames = request.Frames ?? settings.Frames;
        var multiple = Scale * request.FramesPerUnit;
        if (frames < 1)
            throw new ArgumentException(Invariant($"{frames} frames are no video: use 1 for a picture, or {1 + multiple} and more"));
        var below = 1 + ((frames - 1L) / multiple * multiple);
        return frames == below ? frames
            : throw new ArgumentException(Invariant($"{frames} frames are not 1 more than a multiple of {multiple}: use {below} or {below + multiple}"));
    }

    private static void CheckImage(GenerationRequest request, int width, int height, int frames)
    {
        if (request.Image is not { } image)
            return;
        if (image.Length != 3L * width * height)
            throw new ArgumentException(Invariant($"the image has {image.Length} bytes where {width}x{height} RGB pixels are {3L * width * height}: bring it to that size"));
        if (frames == 1)
            throw new ArgumentException(Invariant($"the image is the first frame, so 1 frame leaves nothing to make: use {1 + (Scale * request.FramesPerUnit)} frames or more"));
    }

    private static int[] Steps(string what, IReadOnlyList<int> steps, int stages)
    {
        if (steps.Count != stages)
            throw new ArgumentException(Invariant($"{what} has {Count(steps.Count, "number")} for {Count(stages, "stage")}: use such as {string.Join(',', Enumerable.Repeat(20, stages))}"));
        foreach (var count in steps)
        {
            if (count is < 1 or > 1000)
                throw new ArgumentException(Invariant($"{what} has {count}: every stage needs 1 to 1000, such as 20"));
        }

        return [.. steps];
    }

    private static double?[] Guidance(GenerationRequest request, PipelineSettings settings, int units)
    {
        var first = Scaled("guidance", request.Guidance ?? settings.Guidance);
        var later = Scaled("video guidance", request.VideoGuidance ?? settings.VideoGuidance);
        if (request.LinearGuidance is not { } linear)
            return [.. Enumerable.Range(0, units).Select(unit => Switch(unit == 0 ? first : later))];
        Scaled("the minimum of linear guidance", linear.Minimum);
        Scaled("the alpha of linear guidance", linear.Alpha);
        return [.. Enumerable.Range(0, units).Select(unit => Switch(first == 0 ? 0 : Math.Max(first - (linear.Alpha * unit), linear.Minimum)))];

        static double? Switch(double scale) => scale > 0 ? scale : null;
    }

    private static double Scaled(string what, double value) => value >= 0 && double.IsFinite(value) ? value
        : throw new ArgumentException(Invariant($"{what} {value} is not 0 or more: use 0 to turn it off, or such as 7"));

    private static string Count(int count, string what) => Invariant($"{count} {what}{(count == 1 ? "" : "s")}");

    private static string Either(long below, long above) => below > 0 ? Invariant($"{below} or {above}") : Invariant($"{above}");

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
