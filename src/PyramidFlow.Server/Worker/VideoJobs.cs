using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text.Json;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>Videos as REST and the page see them: the queue, the files and what is being made, for one owner at a time.</summary>
internal sealed class VideoJobs(
    IJobStore store, JobFeed feed, JobSignals signals, ModelCatalog catalog, RequestCheck check, UploadReader uploads, VideoFolder folder, ApiKeys keys, ServerLimits limits) : IVideoJobs
{
    private const int LockAttempts = 20;
    private static readonly TimeSpan LockPause = TimeSpan.FromMilliseconds(10);

    public IReadOnlyList<VideoModel> Models => catalog.All();

    public async Task<VideoJob> SubmitAsync(Owner owner, VideoRequest request, VideoUpload? upload, string? idempotencyKey, CancellationToken cancel)
    {
        Admit(owner);
        var job = new NewJob(VideoId.New(), owner, request)
        {
            IdempotencyKey = idempotencyKey,
            Fingerprint = idempotencyKey is null ? null : await FingerprintAsync(request, upload, cancel).ConfigureAwait(false),
            MaxActive = limits.ActiveJobs,
        };
        if (await store.FindByKeyAsync(job, cancel).ConfigureAwait(false) is { } earlier)
            return await feed.PlaceAsync(earlier, cancel).ConfigureAwait(false);
        // Before any work: what is refused later counts too.
        await store.CountRequestAsync(owner, limits.RequestsPerMinute, cancel).ConfigureAwait(false);
        var source = await SourceAsync(owner, request, cancel).ConfigureAwait(false);
        job = job with { Request = check.Complete(request) };
        var isNew = false;
        try
        {
            if (source is not null)
                CopyInput(job, source);
            else if (request.Input is not null
                && await uploads.ReadAsync(job.Id, job.Request, catalog.Find(request.Model).Settings.FramesPerSecond, upload ?? throw NoInput(), cancel).ConfigureAwait(false) is { } warning)
                job = job with { Request = job.Request with { Input = request.Input with { Warning = warning } } };
            // An upload can take longer than a key lasts.
            Admit(owner);
            (var added, isNew) = await store.AddAsync(job, cancel).ConfigureAwait(false);
            signals.Changed();
            return await feed.PlaceAsync(added, cancel).ConfigureAwait(false);
        }
        finally
        {
            if (!isNew)
                folder.Delete(job.Id);
        }
    }

    public async Task<VideoJob> GetAsync(Owner owner, string id, CancellationToken cancel) =>
        await feed.PlaceAsync(await FindAsync(owner, id, cancel).ConfigureAwait(false), cancel).ConfigureAwait(false);

    public async Task<VideoList> ListAsync(Owner owner, VideoQuery query, CancellationToken cancel)
    {
        Admit(owner);
        if (query.Limit is < 1 or > 100)
            throw new JobException(JobFault.Invalid, "limit is 1 to 100") { Parameter = "limit" };
        var jobs = await store.ListAsync(owner, query, cancel).ConfigureAwait(false)
            ?? throw new JobException(JobFault.NotFound, "there is no video of the id in 'after'") { Parameter = "after" };
        var placed = new List<VideoJob>();
        foreach (var job in jobs.Take(query.Limit))
            placed.Add(await feed.PlaceAsync(job, cancel).ConfigureAwait(false));
        return new VideoList(placed, jobs.Count > query.Limit);
    }

    public async Task<VideoJob> CancelAsync(Owner owner, string id, CancellationToken cancel)
    {
        await FindAsync(owner, id, cancel).ConfigureAwait(false);
        await store.CancelAsync(id, new VideoError(VideoError.Cancelled, "you cancelled it"), cancel).ConfigureAwait(false);
        signals.Changed();
        return await FindAsync(owner, id, cancel).ConfigureAwait(false);
    }

    public async Task DeleteAsync(Owner owner, string id, CancellationToken cancel)
    {
        await FindAsync(owner, id, cancel).ConfigureAwait(false);
        await store.DeleteAsync(id, cancel).ConfigureAwait(false);
        signals.Changed();
        folder.Delete(id);
    }

    public async IAsyncEnumerable<VideoJob> WatchAsync(Owner owner, string id, [EnumeratorCancellation] CancellationToken cancel)
    {
        var watcher = new JobWatcher(owner, id);
        using var subscription = feed.Add(watcher);
        for (VideoJob? job = await GetAsync(owner, id, cancel).ConfigureAwait(false); job is not null;
            job = (await watcher.NextAsync(cancel).ConfigureAwait(false))[^1].Job)
        {
            yield return job;
            if (job.HasEnded)
                yield break;
        }
    }

    public async IAsyncEnumerable<IReadOnlyList<JobChange>> WatchAllAsync(Owner owner, [EnumeratorCancellation] CancellationToken cancel)
    {
        Admit(owner);
        var watcher = new JobWatcher(owner, null);
        using var subscription = feed.Add(watcher);
        while (true)
            yield return await watcher.NextAsync(cancel).ConfigureAwait(false);
    }

    public async Task<VideoContent> OpenAsync(Owner owner, string id, VideoVariant variant, CancellationToken cancel)
    {
        var job = await FindAsync(owner, id, cancel).ConfigureAwait(false);
        if (variant is not (VideoVariant.Input or VideoVariant.Preview) && job.Status != VideoStatus.Completed)
            throw NotReady(job);
        var (type, name) = variant == VideoVariant.Video
            ? ("video/mp4", $"{id}.mp4")
            : ("image/png", $"{id}-{variant.ToString().ToLowerInvariant()}.png");
        try
        {
            var file = await OpenAsync(folder.File(job, variant), cancel).ConfigureAwait(false);
            return new VideoContent(file, type, name, File.GetLastWriteTimeUtc(file.SafeFileHandle));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new JobException(JobFault.NotFound, "there is no such file of this video", e);
        }
    }

    public async IAsyncEnumerable<ReadOnlyMemory<byte>> StreamAsync(Owner owner, string id, [EnumeratorCancellation] CancellationToken cancel)
    {
        var job = await FindAsync(owner, id, cancel).ConfigureAwait(false);
        if (job.Status is VideoStatus.Queued or VideoStatus.Failed)
            throw NotReady(job);
        await foreach (var piece in new LiveReader(store, signals, folder).ReadAsync(job, cancel).ConfigureAwait(false))
            yield return piece;
    }

    // A file that was renamed into place this instant may still be locked by its writer.
    private static async Task<FileStream> OpenAsync(string path, CancellationToken cancel)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1 << 16, useAsync: true);
            }
            catch (IOException e) when (e is not (FileNotFoundException or DirectoryNotFoundException) && attempt < LockAttempts)
            {
                await Task.Delay(LockPause, cancel).ConfigureAwait(false);
            }
        }
    }

    private async Task<VideoJob> FindAsync(Owner owner, string id, CancellationToken cancel)
    {
        Admit(owner);
        return VideoId.IsValid(id) && await store.FindAsync(id, cancel).ConfigureAwait(false) is { } job && job.Owner == owner
            ? job
            : throw new JobException(JobFault.NotFound, "there is no video of this id");
    }

    // Each call is checked: a page may be open longer than its key lasts.
    private void Admit(Owner owner)
    {
        try
        {
            if (!keys.Allows(owner))
                throw new JobException(JobFault.NoKey, "your key was taken away: sign in with another");
        }
        catch (KeysException e)
        {
            throw new JobException(JobFault.Unavailable, "the keys of this service cannot be read: try again in a moment", e);
        }
    }

    // The file of another job that this one begins with.
    private async Task<string?> SourceAsync(Owner owner, VideoRequest request, CancellationToken cancel)
    {
        if (request.Input is { FromJob: { } from, Kind: var kind })
        {
            var job = await FindAsync(owner, from, cancel).ConfigureAwait(false);
            if (job.Status != VideoStatus.Completed)
                throw NotReady(job);
            return folder.File(job, kind == VideoInputKind.Image ? VideoVariant.LastFrame : VideoVariant.Video);
        }

        if (request is { Input: not null, RemixedFrom: { } remixed })
        {
            var job = await FindAsync(owner, remixed, cancel).ConfigureAwait(false);
            return request.Input.Kind == VideoInputKind.Image ? folder.InputPicture(job.Id) : folder.InputVideo(job.Id);
        }

        return null;
    }

    private void CopyInput(NewJob job, string source)
    {
        var target = job.Request.Input!.Kind == VideoInputKind.Image ? folder.InputPicture(job.Id) : folder.InputVideo(job.Id);
        Directory.CreateDirectory(folder.Of(job.Id));
        try
        {
            File.Copy(source, target);
        }
        catch (FileNotFoundException e)
        {
            throw new JobException(JobFault.NotFound, "what this video would begin with has been deleted", e);
        }
    }

    // Of what is asked for and of the file that came with it.
    private static async Task<string> FingerprintAsync(VideoRequest request, VideoUpload? upload, CancellationToken cancel)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(JsonSerializer.SerializeToUtf8Bytes(request, StoreJson.Default.VideoRequest));
        if (upload is not null)
        {
            hash.AppendData(await SHA256.HashDataAsync(upload.Content, cancel).ConfigureAwait(false));
            upload.Content.Position = 0;
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static JobException NoInput() =>
        new(JobFault.Invalid, "no picture or video came with the request: send it as input_reference") { Parameter = "input_reference" };

    private static JobException NotReady(VideoJob job) => job.Status switch
    {
        VideoStatus.Failed => new(JobFault.NotReady, $"this video failed: {job.Error?.Message}"),
        VideoStatus.Queued => new(JobFault.NotReady, "this video still waits in the queue: ask again later"),
        _ => new(JobFault.NotReady, "this video is still being made: ask again later, or watch it at /stream"),
    };
}

/// <summary>Reads a video while a worker, here or elsewhere, writes it: what is there, then what comes, until it ends.</summary>
internal sealed class LiveReader(IJobStore store, JobSignals signals, VideoFolder folder)
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(300);

    public async IAsyncEnumerable<ReadOnlyMemory<byte>> ReadAsync(VideoJob job, [EnumeratorCancellation] CancellationToken cancel)
    {
        var buffer = new byte[1 << 16];
        FileStream? file = null;
        try
        {
            for (var ended = false; ; ended = job.Status != VideoStatus.InProgress)
            {
                var signal = signals.Next;
                file ??= Open(folder.Live(job.Id, job.Attempt)) ?? (job.Status == VideoStatus.Completed ? Open(folder.Video(job.Id, job.Attempt)) : null);
                while (file is not null && await file.ReadAsync(buffer, cancel).ConfigureAwait(false) is > 0 and var count)
                    yield return buffer.AsMemory(0, count);
                // What was written before the end was seen has been read by now.
                if (ended)
                    yield break;
                if (job.Status == VideoStatus.InProgress)
                    await JobSignals.WaitAsync(signal, Look, cancel).ConfigureAwait(false);
                if (await store.FindAsync(job.Id, cancel).ConfigureAwait(false) is not { } now || now.Attempt != job.Attempt)
                    yield break;
                job = now;
            }
        }
        finally
        {
            if (file is not null)
                await file.DisposeAsync().ConfigureAwait(false);
        }
    }

    private static FileStream? Open(string path)
    {
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1, useAsync: true);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }
}
