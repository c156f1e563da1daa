using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page.State;

/// <summary>
/// The videos a page shows, kept up to date. It belongs to one page and is used by its renderer alone, so that every await
/// comes back there and nothing needs a lock.
/// </summary>
/// <param name="jobs">Where the videos are.</param>
internal sealed class VideoLibrary(IVideoJobs jobs)
{
    private const int PageSize = 48;
    private readonly Dictionary<string, VideoJob> known = [];
    private readonly HashSet<string> hidden = [];
    private Owner owner;

    /// <summary>All that are loaded, the newest first.</summary>
    public IReadOnlyList<VideoJob> All { get; private set; } = [];

    /// <summary>Whether the first ones are loaded.</summary>
    public bool IsLoaded { get; private set; }

    /// <summary>Whether there are older ones.</summary>
    public bool HasMore { get; private set; }

    /// <summary>Those being made or waiting, in the order they will be done.</summary>
    public IEnumerable<VideoJob> Active => All.Where(job => !job.HasEnded)
        .OrderBy(job => job.Status == VideoStatus.Queued).ThenBy(job => job.QueuePosition ?? int.MaxValue).ThenBy(job => job.CreatedAt);

    /// <summary>Those that have ended, the newest first.</summary>
    public IEnumerable<VideoJob> Ended => All.Where(job => job.HasEnded);

    /// <summary>Something is different: how it was, and how it is now.</summary>
    public event Action<VideoJob?, VideoJob?>? Changed;

    /// <summary>A loaded video; null when there is none.</summary>
    public VideoJob? Find(string? id) => id is null || hidden.Contains(id) ? null : known.GetValueOrDefault(id);

    /// <summary>Takes a video out of sight.</summary>
    public void Hide(string id)
    {
        hidden.Add(id);
        Sort();
        Changed?.Invoke(null, null);
    }

    /// <summary>Brings it back.</summary>
    public void Bring(string id)
    {
        hidden.Remove(id);
        Sort();
        Changed?.Invoke(null, null);
    }

    /// <summary>Loads the newest, and on until all that are not done are among them.</summary>
    public async Task LoadAsync(Owner whose, CancellationToken cancel)
    {
        owner = whose;
        known.Clear();
        do
            await ReadPageAsync(cancel);
        while (HasMore && All.Count > 0 && !All[^1].HasEnded);
        IsLoaded = true;
        Changed?.Invoke(null, null);
    }

    /// <summary>Loads more of the older ones.</summary>
    public async Task MoreAsync(CancellationToken cancel)
    {
        await ReadPageAsync(cancel);
        Changed?.Invoke(null, null);
    }

    /// <summary>Loads, and follows what changes until it is cancelled.</summary>
    public async Task FollowAsync(Owner whose, CancellationToken cancel)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        await using var changes = jobs.WatchAllAsync(whose, ended.Token).GetAsyncEnumerator(ended.Token);
        // Watched before it is listed: nothing can change unseen between the two.
        var next = changes.MoveNextAsync().AsTask();
        try
        {
            await LoadAsync(whose, cancel);
            while (await next)
            {
                foreach (var (id, job) in changes.Current)
                    Put(id, job);
                next = changes.MoveNextAsync().AsTask();
            }
        }
        finally
        {
            // Nobody may leave while it is still waited for a change.
            await ended.CancelAsync();
            await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        }
    }

    /// <summary>Takes a video as it is now; null is one that is gone.</summary>
    public void Put(string id, VideoJob? job)
    {
        var before = known.GetValueOrDefault(id);
        if (job is null)
            known.Remove(id);
        else if (before is not null || !job.HasEnded || !HasMore || All.Count == 0 || job.CreatedAt >= All[^1].CreatedAt)
            known[id] = job;
        Sort();
        Changed?.Invoke(before, job);
    }

    private async Task ReadPageAsync(CancellationToken cancel)
    {
        var list = await jobs.ListAsync(owner, new VideoQuery(PageSize, known.Values.MinBy(job => (job.CreatedAt, job.Id))?.Id), cancel);
        foreach (var job in list.Jobs)
            known[job.Id] = job;
        HasMore = list.HasMore;
        Sort();
    }

    private void Sort() => All = [.. known.Values.Where(job => !hidden.Contains(job.Id)).OrderByDescending(job => job.CreatedAt).ThenByDescending(job => job.Id, StringComparer.Ordinal)];
}
