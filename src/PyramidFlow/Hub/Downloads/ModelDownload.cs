namespace PyramidFlow.Hub.Downloads;

/// <summary>Downloads the files of a plan, several at a time.</summary>
internal static class ModelDownload
{
    /// <summary>
    /// Downloads missing files. If it fails or is cancelled, incomplete files stay under hidden names and another run resumes them.
    /// </summary>
    /// <param name="client">Client of the hub.</param>
    /// <param name="plan">Files to download.</param>
    /// <param name="progress">Receives progress several times a second, from any thread.</param>
    /// <param name="cancellationToken">Stops the download.</param>
    /// <exception cref="HubException">The disk is too small, or a file is refused, stays unreachable or differs from the hub's list.</exception>
    public static async Task RunAsync(HubClient client, DownloadPlan plan, IProgress<DownloadProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        if (DiskSpace.Shortage(plan.Folder, plan.TotalBytes - plan.KeptBytes, client.Options.FreeBytes) is { } shortage)
            throw HubFault.DiskTooSmall(plan.Folder, shortage);
        foreach (var folder in plan.Files.Select(file => file.Folder).Distinct())
            MakeFolder(plan.Folder, folder);
        var meter = new TransferMeter(plan.TotalBytes, plan.Files.Count, client.Options.Time, progress);
        HubException? failure = null;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var options = new ParallelOptions { MaxDegreeOfParallelism = client.Options.Parallel, CancellationToken = stop.Token };
        try
        {
            await Parallel.ForEachAsync(plan.Files.OrderByDescending(file => file.Size), options, async (file, token) =>
            {
                try
                {
                    await new FileDownload(client, plan.Source, file, plan.Target(file), meter).RunAsync(token).ConfigureAwait(false);
                    meter.Finished();
                }
                catch (HubException e)
                {
                    // The first error is reported; it stops the other files.
                    Interlocked.CompareExchange(ref failure, e, null);
                    await stop.CancelAsync().ConfigureAwait(false);
                }
            }).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (failure is not null && !cancellationToken.IsCancellationRequested)
        {
            throw failure;
        }

        if (failure is not null)
            throw failure;
    }

    private static void MakeFolder(string root, string folder)
    {
        Directory.CreateDirectory(root);
        var path = root;
        foreach (var part in folder.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            path = Path.Combine(path, part);
            if (new DirectoryInfo(path).LinkTarget is { } elsewhere)
                throw HubFault.FolderIsLink(path, elsewhere);
            if (File.Exists(path))
                throw HubFault.FolderIsFile(path);
            Directory.CreateDirectory(path);
        }
    }
}

/// <summary>Progress of a download.</summary>
/// <param name="Bytes">Bytes downloaded.</param>
/// <param name="TotalBytes">Total bytes.</param>
/// <param name="Files">Complete files.</param>
/// <param name="TotalFiles">Total number of files.</param>
/// <param name="BytesPerSecond">Mean rate of the last seconds.</param>
/// <param name="Left">Remaining time at that rate; null if nothing arrives.</param>
internal sealed record DownloadProgress(long Bytes, long TotalBytes, int Files, int TotalFiles, double BytesPerSecond, TimeSpan? Left);

/// <summary>Counts the bytes of all files and measures the rate of the last seconds.</summary>
internal sealed class TransferMeter(long totalBytes, int totalFiles, TimeProvider time, IProgress<DownloadProgress>? progress)
{
    private static readonly TimeSpan Window = TimeSpan.FromSeconds(10), Grain = TimeSpan.FromMilliseconds(200);

    private readonly Lock gate = new();
    private readonly Queue<(long Time, long Fetched)> samples = new([(time.GetTimestamp(), 0L)]);
    private long bytes, fetched, last = time.GetTimestamp();
    private int files;

    /// <summary>Counts bytes found on disk; negative for discarded bytes.</summary>
    internal void Found(long count) => Change(count, 0, 0);

    /// <summary>Counts bytes from the network.</summary>
    internal void Fetched(long count) => Change(count, count, 0);

    /// <summary>Counts a complete file.</summary>
    internal void Finished() => Change(0, 0, 1);

    private void Change(long count, long news, int whole)
    {
        lock (gate)
        {
            (bytes, fetched, files) = (bytes + count, fetched + news, files + whole);
            var now = time.GetTimestamp();
            if (whole == 0 && time.GetElapsedTime(last, now) < Grain)
                return;
            last = now;
            samples.Enqueue((now, fetched));
            while (samples.Count > 2 && time.GetElapsedTime(samples.Peek().Time, now) > Window)
                samples.Dequeue();
            var seconds = time.GetElapsedTime(samples.Peek().Time, now).TotalSeconds;
            var rate = seconds > 0 ? (fetched - samples.Peek().Fetched) / seconds : 0;
            TimeSpan? left = rate > 1 ? TimeSpan.FromSeconds(Math.Min((totalBytes - bytes) / rate, 1e8)) : null;
            progress?.Report(new DownloadProgress(bytes, totalBytes, files, totalFiles, rate, left));
        }
    }
}
