using System.Data.Common;
using Microsoft.AspNetCore.Components.Authorization;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Page.State;

/// <summary>State and actions of one open page; its components display it and call it. Used by the page's renderer only.</summary>
internal sealed class Studio : IAsyncDisposable
{
    private readonly IVideoJobs jobs;
    private readonly AuthenticationStateProvider user;
    private readonly KeyWatch keys;
    private readonly ShareLinks links;
    private Owner owner;
    private CancellationTokenSource? searching;

    /// <param name="jobs">Access to videos.</param>
    /// <param name="library">The displayed videos.</param>
    /// <param name="form">The form.</param>
    /// <param name="user">The user of the page.</param>
    /// <param name="keys">Signals the removal of the user's key.</param>
    /// <param name="links">Makes links to share.</param>
    public Studio(IVideoJobs jobs, VideoLibrary library, VideoForm form, AuthenticationStateProvider user, KeyWatch keys, ShareLinks links)
    {
        (this.jobs, Library, Form, this.user, this.keys, this.links) = (jobs, library, form, user, keys, links);
        form.Changed += Touch;
        form.Sent += Take;
    }

    /// <summary>The videos.</summary>
    public VideoLibrary Library { get; }

    /// <summary>The form.</summary>
    public VideoForm Form { get; }

    /// <summary>Whether the user is signed in and can sign out.</summary>
    public bool IsSignedIn { get; private set; }

    /// <summary>Whether the user is an administrator.</summary>
    public bool IsAdmin => keys.IsAdmin(owner);

    /// <summary>The latest text for screen readers.</summary>
    public string Announcement { get; private set; } = "";

    /// <summary>Error of the last action; null for none. Errors of form fields stand in the form.</summary>
    public string? Trouble { get; private set; }

    /// <summary>Whether the queue is unavailable, so that the displayed videos may be outdated.</summary>
    public bool IsStale { get; private set; }

    /// <summary>A deleted video that can still be restored.</summary>
    public VideoJob? Deleted { get; private set; }

    /// <summary>Id of the video on the stage; null selects the newest.</summary>
    public string? ShownId { get; private set; }

    /// <summary>Occurs when anything except the videos changes.</summary>
    public event Action? Changed;

    /// <summary>The video on the stage.</summary>
    public VideoJob? Shown => Library.Find(ShownId) ?? Library.Active.FirstOrDefault()
        ?? Library.Ended.FirstOrDefault(job => job.Status == VideoStatus.Completed) ?? Library.Ended.FirstOrDefault();

    /// <summary>The video on the stage and those that differ from it in their seed alone, the first one first; empty where it is the only one.</summary>
    public IReadOnlyList<VideoJob> Versions => Shown is { } shown
        && Library.All.Where(job => job.Group == shown.Group && (job.Status != VideoStatus.Failed || job == shown)).Reverse().ToList() is { Count: > 1 } all ? all : [];

    /// <summary>Loads user, models and videos.</summary>
    public async Task BeginAsync(CancellationToken cancellationToken)
    {
        var who = (await user.GetAuthenticationStateAsync()).User;
        (owner, IsSignedIn) = (Owner.From(who), who.Identity is { IsAuthenticated: true });
        Form.Begin(owner);
        await ReachAsync(() => Library.LoadAsync(owner, cancellationToken));
    }

    /// <summary>Follows changes of the videos until cancellation, retrying while the queue is unavailable.</summary>
    /// <returns>Whether it ended because the user's key was removed.</returns>
    public async Task<bool> FollowAsync(CancellationToken cancellationToken)
    {
        Library.Changed += HasChanged;
        var end = keys.EndOf(owner);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, end);
        while (!either.IsCancellationRequested)
        {
            await ReachAsync(() => Library.FollowAsync(owner, either.Token));
            await Task.Delay(TimeSpan.FromSeconds(2), either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        }

        return end.IsCancellationRequested;
    }

    /// <summary>Loads older videos.</summary>
    public Task MoreAsync() => TryAsync(() => Library.MoreAsync(default));

    /// <summary>Puts a video on the stage.</summary>
    public void Show(string? id)
    {
        ShownId = id;
        Touch();
    }

    /// <summary>Opens the video of an address; null is the newest one.</summary>
    public async Task OpenAsync(string? id)
    {
        if (id is not null)
            await TryAsync(() => Library.OpenAsync(owner, id, default));
        Show(id);
    }

    /// <summary>Searches the videos.</summary>
    public Task SearchAsync(string words, bool onlyFavourites) => SearchAsync(end => Library.SearchAsync(words, onlyFavourites, end));

    /// <summary>Searches older videos.</summary>
    public Task FindMoreAsync() => SearchAsync(Library.FindMoreAsync);

    /// <summary>Marks videos as favourites, or takes the marks off.</summary>
    public Task MarkAsync(bool isFavourite, params IReadOnlyList<VideoJob> marked) => TryAsync(async () =>
    {
        foreach (var job in marked)
            Library.Put(job.Id, await jobs.MarkAsync(owner, job.Id, isFavourite));
    });

    /// <summary>Makes a link by which anybody sees a video.</summary>
    /// <returns>Its address on this server; null where it could not be made.</returns>
    public async Task<string?> ShareAsync(VideoJob job, TimeSpan time)
    {
        string? address = null;
        await TryAsync(async () => address = ShareLinks.AddressOf(await links.CreateAsync(owner, job.Id, time)));
        return address;
    }

    /// <summary>Ids of the videos that are compared on the stage.</summary>
    public IReadOnlyList<string> ComparedIds { get; private set; } = [];

    /// <summary>The videos that are compared on the stage; empty where none are.</summary>
    public IReadOnlyList<VideoJob> Compared => [.. ComparedIds.Select(Library.Find).OfType<VideoJob>()];

    /// <summary>Puts videos side by side on the stage; none ends that.</summary>
    public void Compare(params IReadOnlyList<string> ids)
    {
        ComparedIds = ids;
        Touch();
    }

    /// <summary>Asks for a video like another one, with a new seed.</summary>
    public Task MoreLikeAsync(VideoJob job) => TryAsync(async () =>
    {
        var input = job.Request.Input;
        Take(await jobs.SubmitAsync(owner, job.Request with
        {
            Seed = null,
            Seconds = null,
            Group = job.Group,
            Webhook = null,
            Input = input is null ? null : input with { FromJob = null },
            RemixedFrom = input is null ? null : job.Id,
        }));
    });

    /// <summary>Cancels a video.</summary>
    public Task CancelAsync(VideoJob job) => TryAsync(async () =>
    {
        // The stage keeps showing its video, whether cancelled or not.
        ShownId = Shown?.Id;
        Library.Put(job.Id, await jobs.CancelAsync(owner, job.Id));
    });

    /// <summary>Changes a video while it is made.</summary>
    /// <returns>Whether the change was accepted.</returns>
    public async Task<bool> ChangeAsync(VideoJob job, LiveChange change)
    {
        var isAccepted = false;
        await TryAsync(async () =>
        {
            var answer = await jobs.ChangeAsync(owner, job.Id, change);
            isAccepted = true;
            Library.Put(job.Id, (Library.Find(job.Id) ?? job) with { Live = answer.Live });
            Say(change.Kind == LiveChangeKind.GoOn ? "It goes on to its planned end" : Words.Change(answer.Live.Changes[^1]));
        });
        return isAccepted;
    }

    /// <summary>Hides a video. It is deleted permanently with the next one, by <see cref="SettleAsync"/>, or when the page is closed.</summary>
    public async Task DeleteAsync(VideoJob job)
    {
        await SettleAsync();
        Deleted = job;
        ShownId = ShownId == job.Id ? null : ShownId;
        Library.Hide(job.Id);
        Say($"Deleted: {Words.Title(job)}");
    }

    /// <summary>Deletes videos at once; they cannot be restored.</summary>
    public Task DeleteForGoodAsync(IReadOnlyList<VideoJob> unwanted) => TryAsync(async () =>
    {
        foreach (var job in unwanted)
            await DeleteForGoodAsync(job);

        Say(FormattableString.Invariant($"Deleted: {unwanted.Count} {(unwanted.Count == 1 ? "video" : "videos")}"));
    });

    private async Task DeleteForGoodAsync(VideoJob job)
    {
        try
        {
            await jobs.DeleteAsync(owner, job.Id);
        }
        catch (JobException e) when (e.Kind == JobFaultKind.NotFound)
        {
            // Another page has deleted it.
        }

        Library.Put(job.Id, null);
    }

    /// <summary>Restores the video deleted last.</summary>
    public void Undo()
    {
        if (Deleted is not { } job)
            return;
        (Deleted, ShownId) = (null, job.Id);
        Library.Bring(job.Id);
        Say($"Back again: {Words.Title(job)}");
    }

    /// <summary>Deletes the hidden video permanently.</summary>
    public async Task SettleAsync()
    {
        if (Deleted is not { } job)
            return;
        Deleted = null;
        Touch();
        var isDeleted = false;
        try
        {
            await TryAsync(async () =>
            {
                await DeleteForGoodAsync(job);
                isDeleted = true;
            });
        }
        finally
        {
            if (!isDeleted)
                Library.Bring(job.Id);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Library.Changed -= HasChanged;
        Changed = null;
        await (searching?.CancelAsync() ?? Task.CompletedTask);
        await SettleAsync();
    }

    /// <summary>Announces a text to screen readers.</summary>
    public void Say(string words)
    {
        Announcement = words;
        Touch();
    }

    private void Touch() => Changed?.Invoke();

    // A running video stays on the stage, and so does the first one of several that are asked for at once; the new one is queued beside it.
    private void Take(VideoJob job)
    {
        ShownId = Shown is { } shown && (shown.Status == VideoStatus.InProgress || (shown.Group == job.Group && !shown.HasEnded)) ? shown.Id : job.Id;
        Library.Put(job.Id, job);
    }

    // Another search, and the end of the page, end one that is under way.
    private async Task SearchAsync(Func<CancellationToken, Task> find)
    {
        using var own = new CancellationTokenSource();
        var before = searching;
        searching = own;
        try
        {
            await (before?.CancelAsync() ?? Task.CompletedTask);
            await TryAsync(() => find(own.Token));
        }
        catch (OperationCanceledException) when (own.IsCancellationRequested)
        {
            // Nobody waits for it any more.
        }
        finally
        {
            searching = searching == own ? null : searching;
        }
    }

    // Errors appear at the top of the page.
    private async Task TryAsync(Func<Task> what)
    {
        try
        {
            await what();
            Trouble = null;
        }
        catch (JobException e)
        {
            Trouble = Sentence.Full(e.Message);
        }
        catch (Exception e) when (e is DbException or TimeoutException)
        {
            Trouble = Words.QueueIsAway;
        }

        Touch();
    }

    // While the queue is unavailable, the known videos stay.
    private async Task ReachAsync(Func<Task> what)
    {
        try
        {
            await what();
        }
        catch (OperationCanceledException)
        {
            // The page was closed.
        }
        catch (Exception e) when (e is DbException or TimeoutException or JobException)
        {
            IsStale = true;
            Touch();
        }
    }

    private void HasChanged(VideoJob? before, VideoJob? now)
    {
        IsStale = false;
        if (SpokenChange.Of(before, now) is { } words)
            Say(words);
    }
}
