using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text.Json;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>Implements the operations of REST and the page on the queue, the files and the running videos.</summary>
internal sealed class VideoJobs(
    IJobStore store, JobFeed feed, JobSignals signals, ModelCatalog catalog, LoraCatalog loras, RequestCheck check, UploadReader uploads, VideoFolder folder, ApiKeys keys, ServerLimits limits) : IVideoJobs
{
    private const int LockAttempts = 20, SearchedAtOnce = 500, SearchedInAll = 1000;
    private static readonly TimeSpan LockPause = TimeSpan.FromMilliseconds(10);

    public IReadOnlyList<VideoModel> Models => catalog.All();

    public IReadOnlyList<VideoLora> Loras => loras.All();

    public async Task<VideoJob> SubmitAsync(Owner owner, VideoRequest request, VideoUpload? upload, IdempotencyKey? idempotencyKey, CancellationToken cancellationToken)
    {
        Admit(owner);
        var own = keys.LimitsOf(owner).Over(limits);
        var job = new NewJob(VideoId.New(), owner, request)
        {
            IdempotencyKey = idempotencyKey?.OfVideo,
            Fingerprint = idempotencyKey is null ? null : await FingerprintAsync(request, idempotencyKey.Count, upload, cancellationToken).ConfigureAwait(false),
            MaxActive = own.ActiveJobs,
            MaxPerDay = own.VideosPerDay,
        };
        if (await store.FindByKeyAsync(job, cancellationToken).ConfigureAwait(false) is { } earlier)
            return await feed.PlaceAsync(earlier, cancellationToken).ConfigureAwait(false);
        // Counted before any work: requests that are refused later count too.
        await store.CountRequestAsync(owner, own.RequestsPerMinute, cancellationToken).ConfigureAwait(false);
        // The queue counts again when the job is added, because a long upload may lie between.
        await store.CheckDayAsync(owner, own.VideosPerDay, cancellationToken).ConfigureAwait(false);
        var (source, frames) = await SourceAsync(owner, request, cancellationToken).ConfigureAwait(false);
        job = job with { Request = check.Complete(frames == 0 ? request : request with { Input = request.Input! with { Frames = frames } }) };
        var isNew = false;
        try
        {
            if (source is not null)
                CopyInput(job, source);
            else if (request.Input is not null
                && await uploads.ReadAsync(job.Id, job.Request, catalog.Find(request.Model).Settings.FramesPerSecond, upload ?? throw ServiceFault.NoInput(), cancellationToken).ConfigureAwait(false) is { } warning)
                job = job with { Request = job.Request with { Input = request.Input with { Warning = warning } } };
            // The key may be removed during a long upload.
            Admit(owner);
            (var added, isNew) = await store.AddAsync(job, cancellationToken).ConfigureAwait(false);
            signals.Changed();
            return await feed.PlaceAsync(added, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            if (!isNew)
                folder.Delete(job.Id);
        }
    }

    public async Task<VideoJob> GetAsync(Owner owner, string id, CancellationToken cancellationToken) =>
        await feed.PlaceAsync(await FindAsync(owner, id, cancellationToken).ConfigureAwait(false), cancellationToken).ConfigureAwait(false);

    public async Task<VideoList> ListAsync(Owner owner, VideoQuery query, CancellationToken cancellationToken)
    {
        Admit(owner);
        if (query.Limit is < 1 or > VideoQuery.Most)
            throw ServiceFault.LimitOutOfRange(VideoQuery.Most);
        if (query.IsSearch)
            return await SearchAsync(owner, query, cancellationToken).ConfigureAwait(false);
        var jobs = await store.ListAsync(owner, query, cancellationToken).ConfigureAwait(false) ?? throw ServiceFault.VideoAfterUnknown();
        var placed = new List<VideoJob>();
        foreach (var job in jobs.Take(query.Limit))
            placed.Add(await feed.PlaceAsync(job, cancellationToken).ConfigureAwait(false));
        return new VideoList(placed, jobs.Count > query.Limit, placed.LastOrDefault()?.Id);
    }

    // The database leaves out what cannot be meant. Prompts are compared here: databases fold letters other than ASCII in ways of their own, and prompts stand in JSON. Each call looks at so many videos at most.
    private async Task<VideoList> SearchAsync(Owner owner, VideoQuery query, CancellationToken cancellationToken)
    {
        var (found, last) = (new List<VideoJob>(), query.After);
        for (var looked = 0; looked < SearchedInAll; looked += SearchedAtOnce)
        {
            var jobs = await store.ListAsync(owner, query with { Limit = SearchedAtOnce, After = last }, cancellationToken).ConfigureAwait(false) ?? throw ServiceFault.VideoAfterUnknown();
            foreach (var job in jobs.Take(SearchedAtOnce))
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (query.Finds(job))
                {
                    if (found.Count == query.Limit)
                        return new VideoList(found, true, last);
                    found.Add(await feed.PlaceAsync(job, cancellationToken).ConfigureAwait(false));
                }

                last = job.Id;
            }

            if (jobs.Count <= SearchedAtOnce)
                return new VideoList(found, false, last);
        }

        return new VideoList(found, true, last);
    }

    public async Task<VideoJob> MarkAsync(Owner owner, string id, bool isFavourite, CancellationToken cancellationToken)
    {
        await FindAsync(owner, id, cancellationToken).ConfigureAwait(false);
        if (!await store.MarkAsync(id, isFavourite, cancellationToken).ConfigureAwait(false))
            throw ServiceFault.VideoUnknown();
        signals.Changed();
        return await GetAsync(owner, id, cancellationToken).ConfigureAwait(false);
    }

    public async Task<VideoJob> CancelAsync(Owner owner, string id, CancellationToken cancellationToken)
    {
        await FindAsync(owner, id, cancellationToken).ConfigureAwait(false);
        await store.CancelAsync(id, ServiceFault.Cancelled(), cancellationToken).ConfigureAwait(false);
        signals.Changed();
        folder.TryDeleteUnits(id);
        return await GetAsync(owner, id, cancellationToken).ConfigureAwait(false);
    }

    public async Task<LiveAnswer> ChangeAsync(Owner owner, string id, LiveChange change, CancellationToken cancellationToken)
    {
        var job = await FindAsync(owner, id, cancellationToken).ConfigureAwait(false);
        if (change.Kind == LiveChangeKind.Prompt)
            check.CheckPrompt(change.Prompt);
        var (request, rate) = (job.Request, catalog.Find(job.Request.Model).Settings.FramesPerSecond);
        var live = await store.ChangeLiveAsync(id, change, cancellationToken).ConfigureAwait(false);
        signals.Changed();
        return new LiveAnswer(live.Next, ClipChanges.SecondsOf(live.Next, request.FramesPerUnit ?? 1, request.Input?.Kind == VideoInputKind.Video, rate), live);
    }

    public async Task DeleteAsync(Owner owner, string id, CancellationToken cancellationToken)
    {
        await FindAsync(owner, id, cancellationToken).ConfigureAwait(false);
        await store.DeleteAsync(id, cancellationToken).ConfigureAwait(false);
        signals.Changed();
        folder.TryDelete(id);
    }

    public async IAsyncEnumerable<VideoJob> WatchAsync(Owner owner, string id, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var watcher = new JobWatcher(owner, id);
        using var subscription = feed.Add(watcher);
        for (VideoJob? job = await GetAsync(owner, id, cancellationToken).ConfigureAwait(false); job is not null;
            job = (await watcher.NextAsync(cancellationToken).ConfigureAwait(false))[^1].Job)
        {
            yield return job;
            if (job.HasEnded)
                yield break;
        }
    }

    public async IAsyncEnumerable<IReadOnlyList<JobChange>> WatchAllAsync(Owner owner, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Admit(owner);
        var watcher = new JobWatcher(owner, null);
        using var subscription = feed.Add(watcher);
        while (true)
            yield return await watcher.NextAsync(cancellationToken).ConfigureAwait(false);
    }

    public async Task<VideoContent> OpenAsync(Owner owner, string id, VideoVariant variant, CancellationToken cancellationToken)
    {
        var job = await FindAsync(owner, id, cancellationToken).ConfigureAwait(false);
        if (variant is not (VideoVariant.Input or VideoVariant.Preview) && job.Status != VideoStatus.Completed)
            throw ServiceFault.NotReady(job);
        var (type, name) = variant == VideoVariant.Video
            ? ("video/mp4", $"{id}.mp4")
            : ("image/png", $"{id}-{variant.ToString().ToLowerInvariant()}.png");
        try
        {
            var file = await OpenAsync(folder.File(job, variant), cancellationToken).ConfigureAwait(false);
            return new VideoContent(file, type, name, File.GetLastWriteTimeUtc(file.SafeFileHandle));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw ServiceFault.FileMissing(e);
        }
    }

    public async IAsyncEnumerable<ReadOnlyMemory<byte>> StreamAsync(Owner owner, string id, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var job = await FindAsync(owner, id, cancellationToken).ConfigureAwait(false);
        if (job.Status is VideoStatus.Queued or VideoStatus.Failed)
            throw ServiceFault.NotReady(job);
        await foreach (var piece in new LiveReader(store, signals, folder).ReadAsync(job, cancellationToken).ConfigureAwait(false))
            yield return piece;
    }

    // A file that was just renamed into place may still be locked by its writer.
    private static async Task<FileStream> OpenAsync(string path, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1 << 16, useAsync: true);
            }
            catch (IOException e) when (e is not (FileNotFoundException or DirectoryNotFoundException) && attempt < LockAttempts)
            {
                await Task.Delay(LockPause, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private async Task<VideoJob> FindAsync(Owner owner, string id, CancellationToken cancellationToken)
    {
        Admit(owner);
        return VideoId.IsValid(id) && await store.FindAsync(id, cancellationToken).ConfigureAwait(false) is { } job && job.Owner == owner
            ? job
            : throw ServiceFault.VideoUnknown();
    }

    // Each call checks this: a page may be open longer than its key exists.
    private void Admit(Owner owner)
    {
        try
        {
            if (!keys.Allows(owner))
                throw ServiceFault.KeyRemoved();
        }
        catch (ServiceException e)
        {
            throw ServiceFault.KeysUnreadable(e);
        }
    }

    // The file of another job that is the input of this one, and the frames of a video that comes first in the new one.
    private async Task<(string? Path, int Frames)> SourceAsync(Owner owner, VideoRequest request, CancellationToken cancellationToken)
    {
        if (request.Input is { FromJob: { } from, Kind: var kind })
        {
            var job = await FindAsync(owner, from, cancellationToken).ConfigureAwait(false);
            if (job.Status != VideoStatus.Completed)
                throw ServiceFault.NotReady(job);
            return kind == VideoInputKind.Image ? (folder.File(job, VideoVariant.LastFrame), 0) : (folder.File(job, VideoVariant.Video), job.Result?.Frames ?? 0);
        }

        if (request is { Input: not null, RemixedFrom: { } remixed })
        {
            var job = await FindAsync(owner, remixed, cancellationToken).ConfigureAwait(false);
            return (request.Input.Kind == VideoInputKind.Image ? folder.InputPicture(job.Id) : folder.InputVideo(job.Id), request.Input.Frames);
        }

        return (null, 0);
    }

    private void CopyInput(NewJob job, string source)
    {
        var target = job.Request.Input!.Kind == VideoInputKind.Image ? folder.InputPicture(job.Id) : folder.InputVideo(job.Id);
        Directory.CreateDirectory(folder.For(job.Id));
        try
        {
            File.Copy(source, target);
        }
        catch (FileNotFoundException e)
        {
            throw ServiceFault.InputDeleted(e);
        }
    }

    // A hash of the request, the number of its videos and its upload.
    private static async Task<string> FingerprintAsync(VideoRequest request, int count, VideoUpload? upload, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(JsonSerializer.SerializeToUtf8Bytes(request, StoreJson.Default.VideoRequest));
        // Requests of one video have the hash that earlier versions made.
        if (count > 1)
            hash.AppendData([(byte)count]);
        if (upload is not null)
        {
            hash.AppendData(await SHA256.HashDataAsync(upload.Content, cancellationToken).ConfigureAwait(false));
            upload.Content.Position = 0;
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
