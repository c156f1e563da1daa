using System.Diagnostics;
using PyramidFlow.Generation;
using PyramidFlow.Models.Lora;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch;

namespace PyramidFlow.Server.Worker;

/// <summary>Makes the video of one job with all its files.</summary>
/// <param name="catalog">Finds the job's model.</param>
/// <param name="named">Finds the job's LoRAs.</param>
/// <param name="loaded">Keeps it in memory.</param>
/// <param name="folder">Where the files go.</param>
/// <param name="options">How models are loaded.</param>
/// <param name="log">Receives the unit from which a video goes on.</param>
/// <param name="team">Leads the processes that make it together; null is this one alone.</param>
internal sealed class VideoMaker(ModelCatalog catalog, LoraCatalog named, LoadedModel loaded, VideoFolder folder, PipelineOptions options, ILogger<VideoMaker> log, TeamLeader? team = null)
{
    private readonly NotedLoras loras = new();

    /// <summary>Makes it.</summary>
    /// <param name="job">What to make.</param>
    /// <param name="keeper">Takes the progress.</param>
    /// <param name="director">Gives the changes of the video.</param>
    /// <returns>What it became; its files are whole and have their names.</returns>
    /// <exception cref="OperationCanceledException">The keeper stopped it.</exception>
    public async Task<MadeVideo> MakeAsync(VideoJob job, LeaseKeeper keeper, VideoDirector director)
    {
        var start = Stopwatch.GetTimestamp();
        var (id, request) = (job.Id, job.Request);
        var (model, used) = (catalog.Find(request.Model), named.Find(request.Loras));
        Directory.CreateDirectory(folder.For(id));
        folder.DeleteMade(id);
        var generation = request with { Seconds = null, Loras = used, Conditioning = await ConditioningAsync(request, id, model, keeper.Stop).ConfigureAwait(false) };
        var plan = GenerationPlan.Of(generation, loaded.Planned(model), options with { Variant = model.Variant }) with { ResumeFile = new ResumeFile(folder.Units(id)) { Logger = log }, Director = director };
        if (team is not null)
            plan = plan with { Director = await director.FixAsync(plan.Clip.Sampling.Units, keeper.Stop).ConfigureAwait(false) };
        var inputs = new ClipInputs(plan, Notes(job, model, plan), model.Settings.FramesPerSecond) { ConditioningFile = InputFile(request, id) };
        await using var files = new VideoFiles(job, folder, keeper) { AsMade = notes => AsMade() is { } options ? notes with { Options = options } : null };
        var made = await ClipGenerator.MakeAsync(inputs, Pipeline, files, files, warn: null, keeper.Stop).ConfigureAwait(false);
        var result = new VideoResult(made.Frames, folder.BytesOf(id, job.Attempt), Stopwatch.GetElapsedTime(start).TotalSeconds,
            request.Input?.Warning is { } warning ? [warning, .. made.Warnings] : made.Warnings);
        return new MadeVideo(result, AsMade() is { } asMade ? AsMadeRequest(request, asMade, model) : null);

        // Null where nothing was changed.
        GenerationOptions? AsMade() => director.Changes is { Count: > 0 } changes ? ClipChanges.AsMade(plan.Clip, changes, model.Settings.FramesPerSecond) : null;

        VideoPipeline Pipeline(GenerationPlan ready) => team is null ? loaded.Get(model, files)
            : team.Begin(new TeamJob(model.Id, generation with { Loras = request.Loras }, generation.Conditioning) { Pixels = ready.Clip.Pixels, Changes = director.Changes.Count == 0 ? null : director.Changes }, () => loaded.Get(model, files));
    }

    private static VideoRequest AsMadeRequest(VideoRequest request, GenerationOptions asMade, VideoModel model) => request with
    {
        Schedule = asMade.Schedule,
        Frames = asMade.Frames,
        Seconds = RequestCheck.SecondsOf(request.Input, asMade.Frames!.Value, model.Settings),
    };

    // The same that the command line writes. What a video began with has the name under which it is downloaded.
    private GenerationNotes Notes(VideoJob job, VideoModel model, GenerationPlan plan)
    {
        var (id, input) = (job.Id, job.Request.Input);
        var notes = GenerationNotes.Of(Path.GetFileName(Path.TrimEndingDirectorySeparator(model.Folder)), model.Variant ?? "", plan.Clip.Options, plan.Placement, loras.Of([.. options.Loras, .. plan.Clip.Options.Loras ?? []]));
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

    private string? InputFile(VideoRequest request, string id) => request.Input?.Kind switch
    {
        VideoInputKind.Image => folder.InputPicture(id),
        VideoInputKind.Video => folder.InputVideo(id),
        _ => null,
    };
}

/// <summary>A video that was made.</summary>
/// <param name="Result">What it became.</param>
/// <param name="AsMade">The request that makes it again, where it was changed while it was made; null is the one of the job.</param>
internal sealed record MadeVideo(VideoResult Result, VideoRequest? AsMade);

/// <summary>LoRAs as the notes of a video name them. Not thread-safe.</summary>
internal sealed class NotedLoras
{
    private readonly Dictionary<(string Path, string? Digest), string?> hashes = [];

    /// <summary>
    /// Returns the LoRAs in the order of their addition. The hash of a file is computed once until the file changes. A LoRA whose files are away keeps its last hash; one that was never read has none.
    /// </summary>
    /// <param name="loras">The LoRAs with their paths.</param>
    public IReadOnlyList<NotedLora> Of(IReadOnlyList<LoraUse> loras) =>
        [.. loras.Select(lora => new NotedLora(Path.GetFileName(Path.TrimEndingDirectorySeparator(lora.Path)), lora.Weight, Hash(lora.Path)))];

    // The weights may be in memory already, so an unavailable file must not stop the video.
    private string? Hash(string path)
    {
        try
        {
            var place = LoraPlace.Find(path);
            var key = (path, place.Digest());
            if (!hashes.TryGetValue(key, out var hash))
                hashes[key] = hash = place.Sha256();
            return hashes[(path, null)] = hash;
        }
        catch (Exception e) when (e is CheckpointException or IOException or UnauthorizedAccessException)
        {
            return hashes.GetValueOrDefault((path, null));
        }
    }
}
