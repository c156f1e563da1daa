using System.Data.Common;
using Microsoft.AspNetCore.Components.Authorization;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Page.State;

/// <summary>What one page does with videos; its components show this and call it. Used by the page's renderer alone.</summary>
internal sealed class Studio : IAsyncDisposable
{
    private readonly IVideoJobs jobs;
    private readonly AuthenticationStateProvider user;
    private readonly KeyWatch keys;
    private Owner owner;

    /// <param name="jobs">Where the videos are.</param>
    /// <param name="library">Those that are shown.</param>
    /// <param name="form">The form.</param>
    /// <param name="user">Who looks at the page.</param>
    /// <param name="keys">Says when they may not any more.</param>
    public Studio(IVideoJobs jobs, VideoLibrary library, VideoForm form, AuthenticationStateProvider user, KeyWatch keys)
    {
        (this.jobs, Library, Form, this.user, this.keys) = (jobs, library, form, user, keys);
        form.Changed += Touch;
        form.Sent += Take;
    }

    /// <summary>The videos.</summary>
    public VideoLibrary Library { get; }

    /// <summary>The form.</summary>
    public VideoForm Form { get; }

    /// <summary>Whether keys are in use, so that one can sign out.</summary>
    public bool IsSignedIn { get; private set; }

    /// <summary>The latest thing to say aloud.</summary>
    public string Announcement { get; private set; } = "";

    /// <summary>What could not be done, when it belongs to no field of the form.</summary>
    public string? Trouble { get; private set; }

    /// <summary>Whether the queue is away, so that what is shown may be out of date.</summary>
    public bool IsStale { get; private set; }

    /// <summary>A video that is out of sight and can still be taken back.</summary>
    public VideoJob? Deleted { get; private set; }

    /// <summary>Id of the video on the stage; null lets the newest stand there.</summary>
    public string? ShownId { get; private set; }

    /// <summary>Something other than the videos is different.</summary>
    public event Action? Changed;

    /// <summary>The video on the stage.</summary>
    public VideoJob? Shown => Library.Find(ShownId) ?? Library.Active.FirstOrDefault()
        ?? Library.Ended.FirstOrDefault(job => job.Status == VideoStatus.Completed) ?? Library.Ended.FirstOrDefault();

    /// <summary>Learns who looks, which models there are and which videos.</summary>
    public async Task BeginAsync(CancellationToken cancel)
    {
        var who = (await user.GetAuthenticationStateAsync()).User;
        (owner, IsSignedIn) = (Owner.Of(who), who.Identity is { IsAuthenticated: true });
        Form.Begin(owner);
        await ReachAsync(() => Library.LoadAsync(owner, cancel));
    }

    /// <summary>Follows the videos until it is cancelled; when the queue is away, until it is back.</summary>
    /// <returns>Whether it ended because who looks has no valid key any more.</returns>
    public async Task<bool> FollowAsync(CancellationToken cancel)
    {
        Library.Changed += HasChanged;
        var end = keys.EndOf(owner);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancel, end);
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

    /// <summary>Stops a video.</summary>
    public Task CancelAsync(VideoJob job) => TryAsync(async () =>
    {
        // It stays in sight when it is on the stage; so does what else is there.
        ShownId = Shown?.Id;
        Library.Put(job.Id, await jobs.CancelAsync(owner, job.Id));
    });

    /// <summary>Takes a video out of sight; it is deleted for good with the next one, by <see cref="SettleAsync"/>, or when the page is left.</summary>
    public async Task DeleteAsync(VideoJob job)
    {
        await SettleAsync();
        Deleted = job;
        Library.Hide(job.Id);
        Say($"Deleted: {Words.Title(job)}");
    }

    /// <summary>Brings back what was deleted last.</summary>
    public void Undo()
    {
        if (Deleted is not { } job)
            return;
        (Deleted, ShownId) = (null, job.Id);
        Library.Bring(job.Id);
        Say($"Back again: {Words.Title(job)}");
    }

    /// <summary>Deletes for good what is out of sight.</summary>
    public async Task SettleAsync()
    {
        if (Deleted is not { } job)
            return;
        Deleted = null;
        Touch();
        await TryAsync(async () =>
        {
            await jobs.DeleteAsync(owner, job.Id);
            Library.Put(job.Id, null);
        });
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Library.Changed -= HasChanged;
        Changed = null;
        await SettleAsync();
    }

    /// <summary>Says something aloud.</summary>
    public void Say(string words)
    {
        Announcement = words;
        Touch();
    }

    private void Touch() => Changed?.Invoke();

    // What is being made stays in sight; the new one waits beside it.
    private void Take(VideoJob job)
    {
        ShownId = Shown is { Status: VideoStatus.InProgress } running ? running.Id : job.Id;
        Library.Put(job.Id, job);
    }

    // What fails is said at the top of the page.
    private async Task TryAsync(Func<Task> what)
    {
        try
        {
            await what();
            Trouble = null;
        }
        catch (JobException e)
        {
            Trouble = JobFaults.FullSentence(e.Message);
        }
        catch (DbException)
        {
            Trouble = Words.QueueIsAway;
        }

        Touch();
    }

    // While the queue is away, what is known stays.
    private async Task ReachAsync(Func<Task> what)
    {
        try
        {
            await what();
        }
        catch (OperationCanceledException)
        {
            // The page is left.
        }
        catch (Exception e) when (e is DbException or JobException)
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
