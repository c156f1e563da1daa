using System.Diagnostics;
using PyramidFlow.Models;
using PyramidFlow.Media;
using PyramidFlow.Generation;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>Makes the video of one job with all its files.</summary>
/// <param name="catalog">Finds the job's model.</param>
/// <param name="loaded">Keeps it in memory.</param>
/// <param name="folder">Where the files go.</param>
/// <param name="options">How models are loaded.</param>
internal sealed class VideoMaker(ModelCatalog catalog, LoadedModel loaded, VideoFolder folder, PipelineOptions options)
{
    private readonly NotedLoras loras = new(options.Loras);

    /// <summary>Makes it.</summary>
    /// <param name="job">What to make.</param>
    /// <param name="keeper">Told how far it is.</param>
    /// <returns>What it became; its files are whole and have their names.</returns>
    /// <exception cref="OperationCanceledException">The keeper stopped it.</exception>
    public async Task<VideoResult> MakeAsync(VideoJob job, LeaseKeeper keeper)
    {
        var cancel = keeper.Stop;
        var start = Stopwatch.GetTimestamp();
        var (id, attempt, request) = (job.Id, job.Attempt, job.Request);
        var model = catalog.Find(request.Model);
        Directory.CreateDirectory(folder.For(id));
        folder.DeleteMade(id);
        var plan = GenerationPlan.Of(request with { Seconds = null, Conditioning = await ConditioningAsync(request, id, model, cancel).ConfigureAwait(false) },
            loaded.Planned(model), options with { Variant = model.Variant });
        await using var files = new VideoFiles(job, folder, Notes(job, model, plan));
        if (await PixelsAsync(id, model, plan.Clip, files, cancel).ConfigureAwait(false) is { } pixels)
            plan = plan.WithPixels(pixels);
        var progress = new PreviewedProgress(keeper, files);
        // Loading a model takes long and cannot be stopped in the middle.
        cancel.ThrowIfCancellationRequested();
        var run = loaded.Get(model, progress).GenerateAsync(plan, progress, cancel);
        files.Expect(run.Settings.Frames);
        await foreach (var chunk in run.ConfigureAwait(false))
        {
            await files.AddAsync(chunk.Rgb, cancel).ConfigureAwait(false);
            keeper.Streamed(files.Frames);
            files.ShowLast();
            keeper.Previewed();
        }

        await files.CompleteAsync(cancel).ConfigureAwait(false);
        return new VideoResult(files.Frames, folder.BytesOf(id, attempt), Stopwatch.GetElapsedTime(start).TotalSeconds,
            request.Input?.Warning is { } warning ? [warning, .. run.Warnings] : run.Warnings);
    }

    // The same that the command line writes. What a video began with has the name under which it is downloaded.
    private GenerationNotes Notes(VideoJob job, VideoModel model, GenerationPlan plan)
    {
        var (id, input) = (job.Id, job.Request.Input);
        var notes = GenerationNotes.Of(Path.GetFileName(Path.TrimEndingDirectorySeparator(model.Folder)), model.Variant ?? "", plan.Clip.Options, plan.Placement, loras.Get());
        return input?.Kind switch
        {
            VideoInputKind.Image => notes with { Image = VideoFolder.InputName(id, ".png"), ImageSha256 = GenerationNotes.Sha256(folder.InputPicture(id)) },
            VideoInputKind.Video => notes with { Video = input.FromJob is { } from ? $"{from}.mp4" : VideoFolder.InputName(id, ".mp4") },
            _ => notes,
        };
    }

    // What the video begins with; the model sees the end of a video.
    private async Task<ConditioningInput?> ConditioningAsync(VideoRequest request, string id, VideoModel model, CancellationToken cancel) => request.Input?.Kind switch
    {
        VideoInputKind.Image => ConditioningInput.Image,
        VideoInputKind.Video => ConditioningInput.Video(await ConditioningVideo.CountAsync(
            folder.InputVideo(id), model.Settings.FramesPerSecond, VideoLength.OfLatents(model.Settings.MaxLatentFrames), cancel).ConfigureAwait(false)),
        _ => null,
    };

    private async Task<ReadOnlyMemory<byte>?> PixelsAsync(string id, VideoModel model, GenerationSettings clip, VideoFiles files, CancellationToken cancel)
    {
        if (clip.Conditioning is not { } conditioning)
            return null;
        if (conditioning.Kind == ConditioningKind.Image)
            return (await ImageReader.ReadAsync(folder.InputPicture(id), clip.Width, clip.Height, cancel).ConfigureAwait(false)).Pixels;
        // The whole video that is gone on from comes first.
        var options = new VideoReadOptions { Width = clip.Width, Height = clip.Height, Fps = model.Settings.FramesPerSecond };
        return await ConditioningVideo.ReadAsync(folder.InputVideo(id), options, conditioning.Frames, rgb => files.AddAsync(rgb, cancel), cancel).ConfigureAwait(false);
    }

    // Keeps the picture that a report brings before it is told that there is one.
    private sealed class PreviewedProgress(LeaseKeeper keeper, VideoFiles files) : IProgress<GenerationProgress>
    {
        public void Report(GenerationProgress value)
        {
            if (value.Preview is { } picture)
            {
                files.Show(picture);
                keeper.Previewed();
            }

            keeper.Report(value);
        }
    }
}
