using System.Security.Cryptography;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Models;

namespace PyramidFlow.Cli.Generating;

/// <summary>One clip to make: what was asked for, checked against the checkpoint before any weight is read, and its files.</summary>
/// <param name="Clip">What was asked for.</param>
/// <param name="Settings">The same with every value filled in; pictures and videos to go on from are not read yet.</param>
/// <param name="Output">File to write.</param>
internal sealed record RequestedClip(ClipArguments Clip, GenerationSettings Settings, string Output)
{
    /// <summary>Whether the file can be watched while it is written.</summary>
    public bool Stream { get; init; }

    /// <summary>File for the latents.</summary>
    public string? LatentsFile { get; init; }

    /// <summary>Fills in and checks a clip.</summary>
    /// <param name="clip">What was asked for; the length of its video is known.</param>
    /// <param name="output">File to write.</param>
    /// <param name="settings">The checkpoint's.</param>
    /// <param name="latents">Latents to go on from.</param>
    /// <exception cref="RequestException">The model cannot make what is asked for.</exception>
    /// <exception cref="UsageException">The file cannot hold it.</exception>
    public static RequestedClip Of(ClipArguments clip, string output, PipelineSettings settings, LatentClip? latents = null)
    {
        var resolved = (clip with
        {
            Frames = clip.Frames ?? (OutputFile.IsPicture(output) && clip is { Seconds: null, IsContinuation: false } ? 1 : null),
            Conditioning = clip.ImageFile is null ? clip.Conditioning : ConditioningInput.Image,
            Latents = latents,
            Seed = clip.Seed ?? (ulong)RandomNumberGenerator.GetInt32(int.MaxValue),
        }).Resolve(settings);
        return OutputFile.IsPicture(output) && resolved.Frames != 1
            ? throw CommandFault.PictureOfFrames(output, resolved.Frames, Path.ChangeExtension(output, OutputFile.Video)!)
            : new RequestedClip(clip, resolved, output);
    }

    /// <summary>Fails on what needs no checkpoint to be seen.</summary>
    /// <exception cref="UsageException">Something asked for is impossible.</exception>
    public static void Check(ClipArguments clip)
    {
        if (clip is { Prompt: null, Schedule.Count: > 0, IsConditioned: false })
            throw CommandFault.ScheduleWithoutBeginning();
        if (string.IsNullOrWhiteSpace(clip.Prompt) && !clip.IsConditioned)
            throw CommandFault.EmptyPrompt();
        if (clip.Frames is not null && clip.Seconds is not null)
            throw CommandFault.TwoLengths();
        if (clip is { ImageFile: not null, IsContinuation: true })
            throw CommandFault.TwoBeginnings();
        OutputFile.CheckInput(clip.ImageFile, "--image takes a picture file");
        OutputFile.CheckInput(clip.LatentsFile, "--from-latents takes a file that --save-latents wrote");
        OutputFile.CheckInput(clip.VideoFile, "name the video to go on from");
    }

    /// <summary>What the file of a clip ends in that was given no name.</summary>
    public static string Extension(ClipArguments clip, PipelineSettings settings) =>
        clip is { IsContinuation: false, Seconds: null } && (clip.Frames ?? settings.Frames) == 1 ? OutputFile.Picture : OutputFile.Video;

    /// <summary>How the clip is made: when weights are in memory, tiles, threads.</summary>
    /// <exception cref="RequestException">The model cannot make it, or it fits neither the budget nor the machine.</exception>
    public GenerationPlan Plan(PlannedModel model, PipelineOptions options) => GenerationPlan.Of([Settings], model, options);
}
