using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models;

namespace PyramidFlow.Cli.Generating;

/// <summary>One run of <c>generate</c> for one prompt, or of <c>extend</c>.</summary>
internal sealed class GenerateRun(CliConsole console)
{
    /// <summary>Generates and writes its clips; prints their paths.</summary>
    public async Task<int> RunAsync(GenerateArguments arguments, CancellationToken cancellationToken)
    {
        OutputNames.Check(arguments, console);
        if (arguments.Like is not null)
            arguments = await LikeFile.ApplyAsync(arguments, console, cancellationToken).ConfigureAwait(false);
        else if (arguments.Clip.VideoFile is not null && File.Exists(arguments.Clip.VideoFile))
            arguments = await LikeFile.ContinueAsync(arguments, console, cancellationToken).ConfigureAwait(false);
        RequestedClip.Check(arguments.Clip);
        var folder = arguments.Model.Open();
        return await SharedRun.OfAsync(arguments.Model, console, (model, own, line) =>
        {
            var output = model.IsFollower ? arguments.Output ?? OutputFile.Stem : arguments.Output;
            return new GenerateRun(own).MakeAsync(arguments with { Model = model, Output = output }, folder, line, cancellationToken);
        }, cancellationToken).ConfigureAwait(false);
    }

    private async Task<int> MakeAsync(GenerateArguments arguments, CheckpointFolder folder, ProgressLine line, CancellationToken cancellationToken)
    {
        using var reserved = new ReservedNames();
        using var maker = new ClipMaker(arguments.Model, folder, console);
        var report = new RunReport(console, arguments.Json, arguments.Verbose);
        var clips = await ClipsAsync(arguments, folder.Settings(arguments.Model.Variant), reserved, cancellationToken).ConfigureAwait(false);
        foreach (var (i, requested) in clips.Index())
        {
            var monitor = new GenerationMonitor(line, i, clips.Count, arguments.Model.Options().Device);
            var clip = await maker.MakeAsync(requested, monitor, cancellationToken).ConfigureAwait(false);
            line.Clear();
            report.Made(clip, monitor.Summary());
        }

        return report.End();
    }

    private static async Task<IReadOnlyList<RequestedClip>> ClipsAsync(GenerateArguments arguments, PipelineSettings settings, ReservedNames reserved, CancellationToken cancellationToken)
    {
        var clip = arguments.Clip;
        if (clip.VideoFile is not null)
            clip = await FromVideoAsync(clip, settings, cancellationToken).ConfigureAwait(false);
        var latents = clip.LatentsFile is { } file ? LatentFile.Read(file) : null;
        var outputs = OutputNames.Of(arguments.Output, arguments.Count, RequestedClip.Extension(clip, settings), reserved);
        var latentFiles = arguments.SaveLatents is { } target ? OutputNames.Of(target, arguments.Count, OutputFile.Latents) : null;
        var clips = new List<RequestedClip>();
        for (var i = 0; i < arguments.Count; i++)
        {
            // Each has the seed after that of the one before, so that every clip can be made alone.
            var seed = i == 0 ? clip.Seed : clips[^1].Settings.Seed + 1;
            clips.Add(RequestedClip.Of(clip with { Seed = seed }, outputs[i], settings, latents) with { Stream = arguments.Stream, LatentsFile = latentFiles?[i] });
        }

        return clips;
    }

    // A video says its size and length.
    private static async Task<ClipArguments> FromVideoAsync(ClipArguments clip, PipelineSettings settings, CancellationToken cancellationToken)
    {
        var info = await VideoReader.ProbeAsync(clip.VideoFile!, cancellationToken).ConfigureAwait(false);
        var multiple = FrameSizes.Multiple(settings);
        if (clip.Width is null && info.Width % multiple == 0 && info.Height % multiple == 0 && (long)info.Width * info.Height <= (long)settings.Width * settings.Height)
            clip = clip with { Width = info.Width, Height = info.Height };
        // A longer history needs more of it than the checkpoint was trained on.
        var most = VideoLength.OfLatents(Math.Clamp(clip.HistoryWindow ?? 0, settings.MaxLatentFrames, VideoLength.Latents(VideoLength.MaxFrames)));
        return clip with
        {
            Conditioning = ConditioningInput.Video(await ConditioningVideo.CountAsync(clip.VideoFile!, settings.FramesPerSecond, most, cancellationToken).ConfigureAwait(false)),
            Prompt = clip.Prompt ?? throw CommandFault.NoPromptInVideo(clip.VideoFile),
        };
    }
}
