using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page.State;

/// <summary>
/// The displayed videos, kept up to date. The library belongs to one page and is used by its renderer only: every await
/// returns to it, so nothing needs a lock.
/// </summary>
/// <param name="jobs">Access to videos.</param>
internal sealed class VideoLibrary(IVideoJobs jobs)
{
    private const int PageSize = 48, MostLetters = 200;
    private readonly Dictionary<string, VideoJob> known = [];
    private readonly HashSet<string> hidden = [];
    private Owner owner;
    private VideoJob? opened;
    private string? oldest, searched;
    private DateTimeOffset oldestAt;
    private VideoQuery search = new();

    /// <summary>All loaded videos, the newest first.</summary>
    public IReadOnlyList<VideoJob> All { get; private set; } = [];

    /// <summary>Whether the first page is loaded.</summary>
    public bool IsLoaded { get; private set; }

    /// <summary>Whether there are older videos.</summary>
    public bool HasMore { get; private set; }

    /// <summary>Running and queued videos, in the order of completion.</summary>
    public IEnumerable<VideoJob> Active => All.Where(job => !job.HasEnded)
        .OrderBy(job => job.Status == VideoStatus.Queued).ThenBy(job => job.QueuePosition ?? int.MaxValue).ThenBy(job => job.CreatedAt);

    /// <summary>Completed and failed videos, the newest first.</summary>
    public IEnumerable<VideoJob> Ended => All.Where(job => job.HasEnded);

    /// <summary>The videos that a search has found, the newest first; null where nothing is searched for.</summary>
    public IReadOnlyList<VideoJob>? Found { get; private set; }

    /// <summary>Whether the search may find older videos.</summary>
    public bool MayFindMore { get; private set; }

    /// <summary>Occurs when a video changes; the arguments are its previous and its new state.</summary>
    public event Action<VideoJob?, VideoJob?>? Changed;

    /// <summary>Returns a loaded video; null when there is none.</summary>
    public VideoJob? Find(string? id) => id is null || hidden.Contains(id) ? null : known.GetValueOrDefault(id);

    /// <summary>Hides a video.</summary>
    public void Hide(string id)
    {
        hidden.Add(id);
        Sort();
        Changed?.Invoke(null, null);
    }

    /// <summary>Shows a hidden video again.</summary>
    public void Bring(string id)
    {
        hidden.Remove(id);
        Sort();
        Changed?.Invoke(null, null);
    }

    /// <summary>Loads the newest videos, and more until all active ones are included.</summary>
    public async Task LoadAsync(Owner whose, CancellationToken cancellationToken)
    {
        owner = whose;
        known.Clear();
        (oldest, oldestAt) = (null, default);
        if (opened is not null)
            known[opened.Id] = opened;
        do
            await ReadPageAsync(cancellationToken);
        while (HasMore && oldest is not null && !known[oldest].HasEnded);
        IsLoaded = true;
        // What was found may have changed while nothing was heard.
        if (search.IsSearch)
            await FindAsync([], null, cancellationToken);
        Changed?.Invoke(null, null);
    }

    /// <summary>Adds a video that may be older than those that are loaded.</summary>
    public async Task OpenAsync(Owner whose, string id, CancellationToken cancellationToken)
    {
        if (Find(id) is not null)
            return;
        opened = await jobs.GetAsync(whose, id, cancellationToken);
        known[id] = opened;
        Sort();
        Changed?.Invoke(null, null);
    }

    /// <summary>Searches all videos of the owner.</summary>
    public async Task SearchAsync(string words, bool onlyFavourites, CancellationToken cancellationToken)
    {
        search = new VideoQuery(PageSize) { Words = words.Length > MostLetters ? words[..MostLetters] : words, OnlyFavourites = onlyFavourites };
        if (!search.IsSearch)
        {
            (Found, MayFindMore, searched) = (null, false, null);
            Changed?.Invoke(null, null);
            return;
        }

        await FindAsync([], null, cancellationToken);
    }

    /// <summary>Searches older videos.</summary>
    public Task FindMoreAsync(CancellationToken cancellationToken) => FindAsync(Found ?? [], searched, cancellationToken);

    private async Task FindAsync(IReadOnlyList<VideoJob> before, string? after, CancellationToken cancellationToken)
    {
        var asked = search;
        var list = await jobs.ListAsync(owner, asked with { After = after }, cancellationToken);
        // Something else may be searched for by now.
        if (asked != search)
            return;
        foreach (var job in list.Jobs)
            known.TryAdd(job.Id, job);
        (Found, MayFindMore, searched) = ([.. before, .. list.Jobs], list.HasMore, list.Last);
        Sort();
        Changed?.Invoke(null, null);
    }

    /// <summary>Loads more of the older videos.</summary>
    public async Task MoreAsync(CancellationToken cancellationToken)
    {
        await ReadPageAsync(cancellationToken);
        Changed?.Invoke(null, null);
    }

    /// <summary>Loads the videos and follows their changes until cancellation.</summary>
    public async Task FollowAsync(Owner whose, CancellationToken cancellationToken)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await using var changes = jobs.WatchAllAsync(whose, ended.Token).GetAsyncEnumerator(ended.Token);
        // The watch starts before the listing, so that no change is missed.
        var next = changes.MoveNextAsync().AsTask();
        try
        {
            await LoadAsync(whose, cancellationToken);
            while (await next)
            {
                foreach (var (id, job) in changes.Current)
                    Put(id, job);
                next = changes.MoveNextAsync().AsTask();
            }
        }
        finally
        {
            // The pending wait must end before the enumerator is disposed.
            await ended.CancelAsync();
            await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        }
    }

    /// <summary>Stores the current state of a video; null removes it.</summary>
    public void Put(string id, VideoJob? job)
    {
        var before = known.GetValueOrDefault(id);
        if (job is null)
            known.Remove(id);
        else if (before is not null || !job.HasEnded || !HasMore || job.CreatedAt >= oldestAt)
            known[id] = job;
        // The list continues after a video that is still there.
        if (job is null && id == oldest)
            oldest = known.Values.Where(left => left.CreatedAt >= oldestAt).OrderBy(left => left.CreatedAt).ThenBy(left => left.Id, StringComparer.Ordinal).FirstOrDefault()?.Id;
        if (id == opened?.Id)
            opened = job;
        Found = Found?.Select(found => found.Id == id ? job : found).OfType<VideoJob>().Where(search.Finds).ToList();
        if (job is null && id == searched)
            searched = Found?.LastOrDefault()?.Id;
        Sort();
        Changed?.Invoke(before, job);
    }

    private async Task ReadPageAsync(CancellationToken cancellationToken)
    {
        var list = await jobs.ListAsync(owner, new VideoQuery(PageSize, oldest), cancellationToken);
        foreach (var job in list.Jobs)
            known[job.Id] = job;
        (HasMore, oldest) = (list.HasMore, list.Last ?? oldest);
        if (list.Jobs.Count > 0)
            oldestAt = list.Jobs[^1].CreatedAt;
        Sort();
    }

    private void Sort() => All = [.. known.Values.Where(job => !hidden.Contains(job.Id)).OrderByDescending(job => job.CreatedAt).ThenByDescending(job => job.Id, StringComparer.Ordinal)];
}
