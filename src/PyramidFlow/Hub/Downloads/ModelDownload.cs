namespace PyramidFlow.Hub.Downloads;

/// <summary>Brings the files of a plan into its folder, several at a time.</summary>
public static class ModelDownload
{
    /// <summary>
    /// Fetches what is not there. When it fails or is cancelled, what has come stays under hidden names, and another run
    /// goes on from there.
    /// </summary>
    /// <param name="client">Whom to ask.</param>
    /// <param name="plan">What to bring.</param>
    /// <param name="progress">Told several times a second, from any thread.</param>
    /// <param name="cancel">Stops it.</param>
    /// <exception cref="HubException">The disk is too small, or a file is refused, stays out of reach or is not what the hub lists.</exception>
    public static async Task RunAsync(HubClient client, DownloadPlan plan, IProgress<DownloadProgress>? progress = null, CancellationToken cancel = default)
    {
        if (DiskSpace.Shortage(plan.Folder, plan.TotalBytes - plan.KeptBytes, client.Options.FreeBytes) is { } shortage)
            throw new HubException(shortage);
        foreach (var folder in plan.Files.Select(file => file.Folder).Distinct())
            MakeFolder(plan.Folder, folder);
        var meter = new TransferMeter(plan.TotalBytes, plan.Files.Count, client.Options.Time, progress);
        HubException? failure = null;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
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
                    // The first fault is the one to tell of; it ends the others.
                    Interlocked.CompareExchange(ref failure, e, null);
                    await stop.CancelAsync().ConfigureAwait(false);
                }
            }).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (failure is not null && !cancel.IsCancellationRequested)
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
                throw new HubException($"{path} is a link to {elsewhere}, outside the checkpoint: remove it, or choose another place");
            if (File.Exists(path))
                throw new HubException($"{path} is a file where a folder belongs: remove it, or choose another place");
            Directory.CreateDirectory(path);
        }
    }
}
