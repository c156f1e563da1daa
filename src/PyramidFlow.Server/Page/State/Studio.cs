using System.Data.Common;
using Microsoft.AspNetCore.Components.Authorization;
using Microsoft.AspNetCore.Components.Forms;
using PyramidFlow.Server.Jobs;

namespace PyramidFlow.Server.Page.State;

/// <summary>What one page does with videos; its components show this and call it. Used by the page's renderer alone.</summary>
/// <param name="jobs">Where the videos are.</param>
/// <param name="library">Those that are shown.</param>
/// <param name="limits">Sizes of uploads.</param>
/// <param name="user">Who looks at the page.</param>
internal sealed class Studio(IVideoJobs jobs, VideoLibrary library, ServerLimits limits, AuthenticationStateProvider user) : IAsyncDisposable
{
    private Owner owner;

    /// <summary>The videos.</summary>
    public VideoLibrary Library { get; } = library;

    /// <summary>The form.</summary>
    public Draft Draft { get; } = new();

    /// <summary>What is wrong with the form, by <see cref="DraftField"/>.</summary>
    public Dictionary<string, string> Errors { get; } = [];

    /// <summary>Whether keys are in use, so that one can sign out.</summary>
    public bool IsSignedIn { get; private set; }

    /// <summary>Models to choose from.</summary>
    public IReadOnlyList<VideoModel> Models { get; private set; } = [];

    /// <summary>The model that is chosen; null when none is installed.</summary>
    public VideoModel? Model { get; private set; }

    /// <summary>Whether a request is on its way.</summary>
    public bool IsSending { get; private set; }

    /// <summary>Seed of the video asked for last.</summary>
    public ulong? LastSeed { get; private set; }

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
        Models = jobs.Models;
        if (Models.Count > 0)
            Choose(Models[0].Id);
        await ReachAsync(() => Library.LoadAsync(owner, cancel));
    }

    /// <summary>Follows the videos until it is cancelled; when the queue is away, until it is back.</summary>
    public async Task FollowAsync(CancellationToken cancel)
    {
        Library.Changed += HasChanged;
        while (!cancel.IsCancellationRequested)
        {
            await ReachAsync(() => Library.FollowAsync(owner, cancel));
            await Task.Delay(TimeSpan.FromSeconds(2), cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        }
    }

    /// <summary>Loads older videos.</summary>
    public Task MoreAsync() => TryAsync(() => Library.MoreAsync(default));

    /// <summary>Chooses a model and fills in what it uses by itself.</summary>
    public void Choose(string id)
    {
        Model = Models.FirstOrDefault(model => model.Id == id) ?? Models[0];
        Draft.Use(Model);
        Errors.Clear();
        Changed?.Invoke();
    }

    /// <summary>Asks for the video that the form describes.</summary>
    /// <returns>The field at fault; null when it is in the queue.</returns>
    public async Task<string?> GenerateAsync()
    {
        Errors.Clear();
        if (Model is null || IsSending)
            return null;
        var request = new DraftReader(Model, Errors).Read(Draft);
        if (Errors.Count == 0)
            await SendAsync(request);
        Changed?.Invoke();
        return DraftField.All.Append(DraftField.Form).FirstOrDefault(Errors.ContainsKey);
    }

    /// <summary>Takes a file to begin with; of the wrong kind or too large it is refused here, before it is sent.</summary>
    public void Take(IBrowserFile file)
    {
        Errors.Remove(DraftField.Input);
        var isVideo = file.ContentType.StartsWith("video/", StringComparison.Ordinal);
        if (!isVideo && !file.ContentType.StartsWith("image/", StringComparison.Ordinal))
            Errors[DraftField.Input] = $"“{file.Name}” is neither a picture nor a video: use such as PNG, JPEG or MP4.";
        else if ((isVideo ? limits.VideoBytes : limits.ImageBytes) is var most && file.Size > most)
            Errors[DraftField.Input] = $"“{file.Name}” is larger than {most >> 20} MB: make it smaller.";
        else
            (Draft.Mode, Draft.File, Draft.From, Draft.SameInputAs) = (isVideo ? DraftMode.Extend : DraftMode.Image, file, null, null);
        Changed?.Invoke();
    }

    /// <summary>Takes an earlier video to begin with: its last frame, or all of it.</summary>
    public void Continue(VideoJob job, DraftMode mode)
    {
        if (Models.FirstOrDefault(model => model.Id == job.Request.Model) is { } model && model != Model)
            Choose(model.Id);
        Draft.Continue(job, mode);
        Errors.Clear();
        Changed?.Invoke();
    }

    /// <summary>Fills the form in as it was for a video.</summary>
    public void Reuse(VideoJob job)
    {
        var model = Models.FirstOrDefault(model => model.Id == job.Request.Model);
        if ((model ?? Model) is not { } chosen)
            return;
        Choose(chosen.Id);
        Draft.Use(job, chosen);
        if (model is null)
            Errors[DraftField.Model] = $"The model {job.Request.Model} is not here any more: {chosen.Id} takes its place.";
        Changed?.Invoke();
    }

    /// <summary>Puts a video on the stage.</summary>
    public void Show(string? id)
    {
        ShownId = id;
        Changed?.Invoke();
    }

    /// <summary>Tells components that the form is different.</summary>
    public void Touch() => Changed?.Invoke();

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
        Changed?.Invoke();
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
        Changed?.Invoke();
    }

    private async Task SendAsync(VideoRequest request)
    {
        IsSending = true;
        Changed?.Invoke();
        try
        {
            await using var stream = Draft.Mode == DraftMode.Text ? null : Draft.File?.OpenReadStream(Math.Max(limits.ImageBytes, limits.VideoBytes));
            var job = await jobs.SubmitAsync(owner, request, stream is null ? null : new VideoUpload(stream, Draft.File!.Name));
            LastSeed = job.Request.Seed;
            // What is being made stays in sight; the new one waits beside it.
            ShownId = Shown is { Status: VideoStatus.InProgress } running ? running.Id : job.Id;
            Library.Put(job.Id, job);
        }
        catch (JobException e)
        {
            Errors[DraftField.All.Contains(e.Parameter) ? e.Parameter! : DraftField.Form] = Words.Sentence(e.Message);
        }
        catch (IOException)
        {
            Errors[DraftField.Input] = "The file could not be read to its end: choose it again.";
        }
        catch (DbException)
        {
            Errors[DraftField.Form] = "The queue cannot be reached just now: try again in a moment.";
        }
        finally
        {
            IsSending = false;
        }
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
            Trouble = Words.Sentence(e.Message);
        }
        catch (DbException)
        {
            Trouble = "The queue cannot be reached just now: try again in a moment.";
        }

        Changed?.Invoke();
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
            Changed?.Invoke();
        }
    }

    private void HasChanged(VideoJob? before, VideoJob? now)
    {
        IsStale = false;
        if (SpokenChange.Of(before, now) is { } words)
            Say(words);
    }
}
