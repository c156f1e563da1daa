using System.Data.Common;
using Microsoft.AspNetCore.Components.Forms;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Page.State;

/// <summary>The form that asks for a video: what stands in it, what is wrong with it, and its sending.</summary>
/// <param name="jobs">Where the videos are.</param>
/// <param name="limits">Sizes of uploads.</param>
internal sealed class VideoForm(IVideoJobs jobs, ServerLimits limits)
{
    private Owner owner;

    /// <summary>What stands in it.</summary>
    public Draft Draft { get; } = new();

    /// <summary>What is wrong with it, by <see cref="DraftField"/>.</summary>
    public Dictionary<string, string> Errors { get; } = [];

    /// <summary>Models to choose from.</summary>
    public IReadOnlyList<VideoModel> Models { get; private set; } = [];

    /// <summary>The model that is chosen; null when none is installed.</summary>
    public VideoModel? Model { get; private set; }

    /// <summary>Names of the LoRAs that fit the chosen model.</summary>
    public IReadOnlyList<string> Loras { get; private set; } = [];

    /// <summary>Whether a request is on its way.</summary>
    public bool IsSending { get; private set; }

    /// <summary>Seed of the video asked for last.</summary>
    public ulong? LastSeed { get; private set; }

    /// <summary>Something in it is different.</summary>
    public event Action? Changed;

    /// <summary>A video was asked for.</summary>
    public event Action<VideoJob>? Sent;

    /// <summary>Learns who asks and which models there are.</summary>
    public void Begin(Owner who)
    {
        (owner, Models) = (who, jobs.Models);
        if (Models.Count > 0)
            Choose(Models[0].Id);
    }

    /// <summary>Chooses a model and fills in what it uses by itself.</summary>
    public void Choose(string id)
    {
        Model = Models.FirstOrDefault(model => model.Id == id) ?? Models[0];
        Loras = [.. jobs.Loras.Where(lora => lora.Models.Contains(Model.Id)).Select(lora => lora.Name)];
        Draft.Use(Model);
        Errors.Clear();
        Touch();
    }

    /// <summary>What stands in it, to be kept by the browser.</summary>
    public string Keep() => KeptDraft.Of(Draft, Model).ToJson();

    /// <summary>Fills in what the browser has kept; what cannot be used any more is left out.</summary>
    /// <param name="kept">What <see cref="Keep"/> gave once, or anything else.</param>
    public async Task RestoreAsync(string? kept)
    {
        if (KeptDraft.FromJson(kept) is not { } draft || Model is null)
            return;
        if (draft.Model != Model.Id && Models.FirstOrDefault(model => model.Id == draft.Model) is { } model)
            Choose(model.Id);
        draft.Restore(Draft, Model, await FindAsync(draft.From), await FindAsync(draft.SameInputAs));
        Touch();
    }

    /// <summary>Asks for the video it describes.</summary>
    /// <returns>The field at fault; null when it is in the queue.</returns>
    public async Task<string?> GenerateAsync()
    {
        Errors.Clear();
        if (Model is null || IsSending)
            return null;
        var request = new DraftReader(Model, Errors).Read(Draft);
        if (Errors.Count == 0)
            await SendAsync(request);
        Touch();
        return DraftField.All.Append(DraftField.Form).FirstOrDefault(Errors.ContainsKey);
    }

    /// <summary>Takes a file to begin with; of the wrong kind or too large it is refused here, before it is sent.</summary>
    public void Take(IBrowserFile file)
    {
        Errors.Remove(DraftField.Input);
        Noted = null;
        var isVideo = file.ContentType.StartsWith("video/", StringComparison.Ordinal);
        if (!isVideo && !file.ContentType.StartsWith("image/", StringComparison.Ordinal))
            Errors[DraftField.Input] = $"“{file.Name}” is neither a picture nor a video: use such as PNG, JPEG or MP4.";
        else if ((isVideo ? limits.VideoBytes : limits.ImageBytes) is var most && file.Size > most)
            Errors[DraftField.Input] = $"“{file.Name}” is larger than {most >> 20} MB: make it smaller.";
        else
            (Draft.Mode, Draft.File, Draft.From, Draft.SameInputAs) = (isVideo ? DraftMode.Extend : DraftMode.Image, file, null, null);
        Touch();
    }

    /// <summary>Begins with nothing that was chosen.</summary>
    public void Leave()
    {
        (Draft.File, Draft.From, Draft.SameInputAs, Noted) = (null, null, null, null);
        Touch();
    }

    /// <summary>How the chosen file was made, where this program made it; null otherwise.</summary>
    public GenerationNotes? Noted { get; private set; }

    /// <summary>Learns how the chosen file was made.</summary>
    public async Task ReadNotesAsync()
    {
        var file = Draft.File;
        GenerationNotes? notes = null;
        try
        {
            notes = file is null ? null : await FileNotes.ReadAsync(file, limits.VideoBytes);
        }
        catch (Exception e) when (FileNotes.IsUnreadable(e))
        {
            if (Draft.File != file)
                return;
            Errors[DraftField.Input] = "The file cannot be read: choose it again, or another one.";
            Touch();
        }

        if (Draft.File != file || notes == Noted)
            return;
        Noted = notes;
        Touch();
    }

    /// <summary>Fills it in as it was for the chosen file, which is chosen no more.</summary>
    public void UseNotes()
    {
        if (Noted is not { } notes || Model is null)
            return;
        var model = FileNotes.ModelOf(notes, Models);
        Choose((model ?? Model).Id);
        Draft.Use(FileNotes.RequestOf(notes, Model, Loras), Model);
        Noted = null;
        if (model is null)
            Errors[DraftField.Model] = $"The model {notes.Model} is not here: {Model.Id} takes its place.";
        if (Draft.Mode != DraftMode.Text)
            Errors[DraftField.Input] = $"Choose what it began with: {notes.Image ?? notes.Video ?? notes.Latents}.";
        Touch();
    }

    /// <summary>Takes an earlier video to begin with: its last frame, or all of it.</summary>
    public void Continue(VideoJob job, DraftMode mode)
    {
        if (Models.FirstOrDefault(model => model.Id == job.Request.Model) is { } model && model != Model)
            Choose(model.Id);
        Draft.Continue(job, mode);
        Errors.Clear();
        Touch();
    }

    /// <summary>Fills it in as it was for a video.</summary>
    public void Reuse(VideoJob job)
    {
        var model = Models.FirstOrDefault(model => model.Id == job.Request.Model);
        if ((model ?? Model) is not { } chosen)
            return;
        Choose(chosen.Id);
        Draft.Use(job, chosen);
        if (model is null)
            Errors[DraftField.Model] = $"The model {job.Request.Model} is not here any more: {chosen.Id} takes its place.";
        Touch();
    }

    /// <summary>Tells components that it is different.</summary>
    public void Touch() => Changed?.Invoke();

    // The first video chooses a seed where none is kept; the others have those that follow it, and belong to its group.
    private async Task SendAsync(VideoRequest request)
    {
        IsSending = true;
        Touch();
        VideoJob? first = null;
        WatchedUpload? upload = null;
        var sent = 0;
        try
        {
            for (var count = Draft.Count; sent < count; sent++)
            {
                await using var stream = upload = Draft.Mode != DraftMode.Text && Draft.File is { } file ? new WatchedUpload(file.OpenReadStream(Math.Max(limits.ImageBytes, limits.VideoBytes))) : null;
                var job = await jobs.SubmitAsync(owner, first?.Sibling(request, sent) ?? request,
                    stream is null ? null : new VideoUpload(stream, Draft.File!.Name));
                first ??= job;
                Sent?.Invoke(job);
            }
        }
        catch (JobException e)
        {
            Errors[DraftField.Of(e.Field)] = sent == 0 ? Sentence.Full(e.Message) : Sentence.Full(FormattableString.Invariant($"{sent} of {Draft.Count} videos are in the queue, and then {e.Message}"));
        }
        catch (Exception e) when (upload?.Fault == e)
        {
            Errors[DraftField.Input] = "The file could not be read to its end: choose it again.";
        }
        catch (Exception e) when (e is DbException or TimeoutException)
        {
            Errors[DraftField.Form] = Words.QueueIsAway;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or MediaException)
        {
            Errors[DraftField.Form] = Sentence.Full(ServiceFault.Storage(e).Message);
        }
        finally
        {
            LastSeed = first?.Request.Seed ?? LastSeed;
            IsSending = false;
        }
    }

    private async Task<VideoJob?> FindAsync(string? id)
    {
        try
        {
            return id is null ? null : await jobs.GetAsync(owner, id);
        }
        catch (Exception e) when (e is JobException or DbException or TimeoutException)
        {
            return null;
        }
    }
}

/// <summary>A user's file on its way to the server, which knows whether reading it failed; other faults of a request do not lie in the file.</summary>
/// <param name="inner">The file; disposed with this.</param>
file sealed class WatchedUpload(Stream inner) : ReadOnlyStream
{
    /// <summary>The fault of reading the file; null for none.</summary>
    public Exception? Fault { get; private set; }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            return await inner.ReadAsync(buffer, cancellationToken);
        }
        catch (Exception e) when (FileNotes.IsUnreadable(e))
        {
            Fault = e;
            throw;
        }
    }

    public override async ValueTask DisposeAsync()
    {
        await inner.DisposeAsync();
        await base.DisposeAsync();
    }
}
