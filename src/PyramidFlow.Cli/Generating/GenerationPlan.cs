using System.Security.Cryptography;
using PyramidFlow.Hub;
using PyramidFlow.Pipelines;

namespace PyramidFlow.Cli.Generating;

/// <summary>What was asked for together with the checkpoint's own settings; made and checked before any weight is read.</summary>
/// <param name="Request">What to generate; every setting is filled in.</param>
/// <param name="Output">File to write.</param>
/// <param name="FramesPerSecond">Of the video.</param>
internal sealed record GenerationPlan(GenerationRequest Request, string Output, double FramesPerSecond)
{
    private const string Picture = ".png", Video = ".mp4";
    private const int FramesPerLatent = 8;

    /// <summary>Makes and checks a plan.</summary>
    /// <exception cref="UsageException">Something asked for is impossible.</exception>
    public static GenerationPlan Of(GenerateArguments arguments, CheckpointFolder folder)
    {
        var settings = folder.Settings(arguments.Model.Variant);
        var named = arguments.Output;
        var frames = Frames(arguments, settings);
        var output = named ?? OutputFile.FreeName(frames == 1 ? Picture : Video);
        if (IsPicture(output) && frames != 1)
            throw new UsageException($"{output} holds one picture, not {frames} frames: use --frames 1, or name it {Path.ChangeExtension(output, Video)}");
        return new GenerationPlan(
            new GenerationRequest
            {
                Prompt = arguments.Prompt,
                NegativePrompt = arguments.Negative ?? settings.NegativePrompt,
                PromptSuffix = arguments.Suffix ?? settings.PromptSuffix,
                Width = arguments.Size?.Width ?? settings.Width,
                Height = arguments.Size?.Height ?? settings.Height,
                Frames = frames,
                Steps = arguments.Steps ?? settings.Steps,
                VideoSteps = arguments.VideoSteps ?? settings.VideoSteps,
                Guidance = arguments.Guidance ?? settings.Guidance,
                VideoGuidance = arguments.VideoGuidance ?? settings.VideoGuidance,
                Seed = arguments.Seed ?? (ulong)RandomNumberGenerator.GetInt32(int.MaxValue),
            },
            output, settings.FramesPerSecond);
    }

    /// <summary>Fails on what needs no checkpoint to be seen.</summary>
    /// <exception cref="UsageException">Something asked for is impossible.</exception>
    public static void Check(GenerateArguments arguments)
    {
        if (string.IsNullOrWhiteSpace(arguments.Prompt) && arguments.Image is null)
            throw new UsageException("the prompt is empty: say in quotes what is to be seen, or give an --image");
        if (arguments.Prompt.StartsWith("--", StringComparison.Ordinal))
            throw new UsageException($"'{arguments.Prompt}' looks like an option and not like a prompt: see {CommandLine.Name} generate --help");
        if (arguments.Frames is not null && arguments.Seconds is not null)
            throw new UsageException("--frames and --seconds both say how long the video is: use one of them");
        if (arguments.Output is { } output)
            OutputFile.Check(output, Video, ".gif", Picture);
        else
            OutputFile.Check("out" + Video, Video);
        if (arguments.Image is { } image && !File.Exists(image))
            throw new UsageException($"{image} does not exist: --image takes a picture file");
    }

    /// <summary>The plan with the picture to start from, checked against the checkpoint's settings.</summary>
    /// <exception cref="UsageException">The model cannot make what is asked for.</exception>
    public GenerationPlan Checked(ReadOnlyMemory<byte>? image, PipelineSettings settings)
    {
        var plan = this with { Request = Request with { Image = image } };
        try
        {
            plan.Request.Resolve(settings);
            return plan;
        }
        catch (ArgumentException e)
        {
            throw new UsageException(Faults.Sentence(e), e);
        }
    }

    /// <summary>Whether a file is a picture and not a video.</summary>
    public static bool IsPicture(string path) => Path.GetExtension(path).Equals(Picture, StringComparison.OrdinalIgnoreCase);

    private static int Frames(GenerateArguments arguments, PipelineSettings settings)
    {
        if (arguments.Seconds is { } seconds)
        {
            var latents = Math.Round(seconds * settings.FramesPerSecond / FramesPerLatent);
            return latents < int.MaxValue / FramesPerLatent
                ? 1 + (FramesPerLatent * (int)latents)
                : throw new UsageException(FormattableString.Invariant($"--seconds {seconds} is longer than any video"));
        }

        return arguments.Frames ?? (arguments.Output is { } output && IsPicture(output) ? 1 : settings.Frames);
    }
}
