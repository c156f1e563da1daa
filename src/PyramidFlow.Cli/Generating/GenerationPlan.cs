using System.Security.Cryptography;
using PyramidFlow.Hub;
using PyramidFlow.Pipelines;

namespace PyramidFlow.Cli.Generating;

/// <summary>One clip to make: what was asked for together with the checkpoint's own settings, checked before any weight is read.</summary>
/// <param name="Clip">What was asked for.</param>
/// <param name="Request">What to generate; every setting is filled in, the picture to start from is not read yet.</param>
/// <param name="Output">File to write.</param>
/// <param name="FramesPerSecond">Of the video.</param>
internal sealed record GenerationPlan(ClipArguments Clip, GenerationRequest Request, string Output, double FramesPerSecond)
{
    /// <summary>Kinds of file, the usual one first.</summary>
    public const string Video = ".mp4", Animation = ".gif", Picture = ".png";

    private const int FramesPerLatent = 8;

    /// <summary>All kinds of file.</summary>
    public static readonly string[] Extensions = [Video, Animation, Picture];

    /// <summary>Makes and checks a plan.</summary>
    /// <param name="clip">What was asked for.</param>
    /// <param name="output">File to write.</param>
    /// <param name="settings">The checkpoint's.</param>
    /// <exception cref="UsageException">The model cannot make what is asked for.</exception>
    public static GenerationPlan Of(ClipArguments clip, string output, PipelineSettings settings)
    {
        var frames = Frames(clip, output, settings);
        if (IsPicture(output) && frames != 1)
            throw new UsageException($"{output} holds one picture, not {frames} frames: use --frames 1, or name it {Path.ChangeExtension(output, Video)}");
        var plan = new GenerationPlan(
            clip,
            new GenerationRequest
            {
                Prompt = clip.Prompt ?? "",
                NegativePrompt = clip.Negative ?? settings.NegativePrompt,
                PromptSuffix = clip.Suffix ?? settings.PromptSuffix,
                Width = clip.Size?.Width ?? settings.Width,
                Height = clip.Size?.Height ?? settings.Height,
                Frames = frames,
                Steps = clip.Steps ?? settings.Steps,
                VideoSteps = clip.VideoSteps ?? settings.VideoSteps,
                Guidance = clip.Guidance ?? settings.Guidance,
                VideoGuidance = clip.VideoGuidance ?? settings.VideoGuidance,
                LinearGuidance = clip.LinearGuidance,
                FramesPerUnit = clip.FramesPerUnit ?? 1,
                SampleImage = clip.SampleImage ?? false,
                Seed = clip.Seed ?? (ulong)RandomNumberGenerator.GetInt32(int.MaxValue),
            },
            output, settings.FramesPerSecond);
        plan.Check(settings);
        return plan;
    }

    /// <summary>Fails on what needs no checkpoint to be seen.</summary>
    /// <exception cref="UsageException">Something asked for is impossible.</exception>
    public static void Check(ClipArguments clip)
    {
        if (string.IsNullOrWhiteSpace(clip.Prompt) && clip.Image is null)
            throw new UsageException("the prompt is empty: say in quotes what is to be seen, or give an --image");
        if (clip.Frames is not null && clip.Seconds is not null)
            throw new UsageException("--frames and --seconds both say how long the video is: use one of them");
        if (clip.Image is { } image && !File.Exists(image))
            throw new UsageException($"{image} does not exist: --image takes a picture file");
    }

    /// <summary>What the file of a clip ends in that was given no name.</summary>
    /// <exception cref="UsageException">The clip is too long.</exception>
    public static string Extension(ClipArguments clip, PipelineSettings settings) => Frames(clip, "", settings) == 1 ? Picture : Video;

    /// <summary>The request with its picture, checked again.</summary>
    /// <exception cref="UsageException">The model cannot make what is asked for.</exception>
    public GenerationRequest Complete(ReadOnlyMemory<byte>? image, PipelineSettings settings)
    {
        var request = Request with { Image = image };
        Resolve(request, settings);
        return request;
    }

    /// <summary>Whether a file is a picture and not a video.</summary>
    public static bool IsPicture(string path) => Path.GetExtension(path).Equals(Picture, StringComparison.OrdinalIgnoreCase);

    // The picture comes later, and with it the prompt may be empty.
    private void Check(PipelineSettings settings) =>
        Resolve(Clip.Image is null || Request.Prompt.Length > 0 ? Request : Request with { Prompt = "picture" }, settings);

    private static void Resolve(GenerationRequest request, PipelineSettings settings)
    {
        try
        {
            request.Resolve(settings);
        }
        catch (ArgumentException e)
        {
            throw new UsageException(Faults.Sentence(e), e);
        }
    }

    private static int Frames(ClipArguments clip, string output, PipelineSettings settings)
    {
        if (clip.Seconds is { } seconds)
        {
            var unit = FramesPerLatent * (clip.FramesPerUnit ?? 1);
            var units = Math.Round(seconds * settings.FramesPerSecond / unit);
            return units < int.MaxValue / unit
                ? 1 + (unit * (int)units)
                : throw new UsageException(FormattableString.Invariant($"--seconds {seconds} is longer than any video"));
        }

        return clip.Frames ?? (IsPicture(output) ? 1 : settings.Frames);
    }
}
