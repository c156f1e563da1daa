using System.Runtime.CompilerServices;
using System.Threading.Channels;
using PyramidFlow.Models;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Page.Tests.Components;

/// <summary>Jobs that a test moves on by hand.</summary>
internal sealed class FakeVideoJobs : IVideoJobs
{
    public static readonly VideoModel Sprites = new("sprites", "/models/sprites", null,
        PipelineSettings.Released(ModelFamilies.Flux, "384p") with { Width = 128, Height = 128, Frames = 49, Steps = [10, 10, 10], VideoSteps = [6, 6, 6], NegativePrompt = "", MaxLatentFrames = 7 });

    private readonly Channel<JobChange> changes = Channel.CreateUnbounded<JobChange>();
    private readonly Dictionary<string, VideoJob> known = [];
    private int count;

    public IReadOnlyList<VideoModel> Models { get; set; } = [Sprites];

    public IReadOnlyList<VideoLora> Loras { get; set; } = [];

    /// <summary>What was asked for, in order.</summary>
    public List<VideoRequest> Requests { get; } = [];

    public List<string> Deleted { get; } = [];

    /// <summary>Bytes of the uploads that came.</summary>
    public List<long> Uploads { get; } = [];

    /// <summary>What every call fails with.</summary>
    public Exception? Fault { get; set; }

    /// <summary>A video that is there already.</summary>
    public VideoJob Add(VideoStatus status, VideoRequest? request = null, Func<VideoJob, VideoJob>? change = null)
    {
        var job = new VideoJob
        {
            Id = $"video_{++count:x32}",
            Owner = Owner.Local,
            Request = (request ?? new VideoRequest { Prompt = $"prompt {count}" }) with { Model = "sprites", Width = 128, Height = 128, Steps = [10, 10, 10], VideoSteps = [6, 6, 6], Guidance = 5, VideoGuidance = 4, Frames = 49, Seconds = 2, Seed = (ulong)(1000 + count) },
            Status = status,
            CreatedAt = DateTimeOffset.UnixEpoch.AddMinutes(count),
            QueuePosition = status == VideoStatus.Queued ? 1 : null,
            Result = status == VideoStatus.Completed ? new VideoResult(49, 1000, 3.5, []) : null,
        };
        return known[job.Id] = change?.Invoke(job) ?? job;
    }

    /// <summary>Changes a video and tells who watches.</summary>
    public void Move(string id, Func<VideoJob, VideoJob> change)
    {
        known[id] = change(known[id]);
        changes.Writer.TryWrite(new JobChange(id, known[id]));
    }

    public async Task<VideoJob> SubmitAsync(Owner owner, VideoRequest request, VideoUpload? upload, IdempotencyKey? idempotencyKey, CancellationToken cancellationToken)
    {
        if (Fault is not null)
            throw Fault;
        Requests.Add(request);
        if (upload is not null)
        {
            using var bytes = new MemoryStream();
            await upload.Content.CopyToAsync(bytes, cancellationToken);
            Uploads.Add(bytes.Length);
        }

        return Add(VideoStatus.Queued, request);
    }

    public Task<VideoJob> GetAsync(Owner owner, string id, CancellationToken cancellationToken) =>
        known.TryGetValue(id, out var job) ? Task.FromResult(job) : throw ServiceFault.VideoUnknown();

    public Task<VideoList> ListAsync(Owner owner, VideoQuery query, CancellationToken cancellationToken)
    {
        if (Fault is not null)
            throw Fault;
        var all = known.Values.Where(query.Finds).OrderByDescending(job => job.CreatedAt).SkipWhile(job => query.After is not null && job.Id != query.After).Skip(query.After is null ? 0 : 1).ToList();
        return Task.FromResult(new VideoList([.. all.Take(query.Limit)], all.Count > query.Limit, all.Take(query.Limit).LastOrDefault()?.Id));
    }

    public Task<VideoJob> CancelAsync(Owner owner, string id, CancellationToken cancellationToken) =>
        Task.FromResult(known[id] = known[id] with { Status = VideoStatus.Failed, Error = new VideoError(VideoError.Cancelled, "you cancelled it") });

    public Task<LiveAnswer> ChangeAsync(Owner owner, string id, LiveChange change, CancellationToken cancellationToken)
    {
        var live = (known[id].Live ?? throw ServiceFault.NotChangeable(known[id])).With(change);
        known[id] = known[id] with { Live = live };
        return Task.FromResult(new LiveAnswer(live.Next, live.Next, live));
    }

    public Task<VideoJob> MarkAsync(Owner owner, string id, bool isFavourite, CancellationToken cancellationToken) => Task.FromResult(known[id] = known[id] with { IsFavourite = isFavourite });

    public Task DeleteAsync(Owner owner, string id, CancellationToken cancellationToken)
    {
        if (Fault is not null)
            throw Fault;
        Deleted.Add(id);
        known.Remove(id);
        return Task.CompletedTask;
    }

    public async IAsyncEnumerable<IReadOnlyList<JobChange>> WatchAllAsync(Owner owner, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await foreach (var change in changes.Reader.ReadAllAsync(cancellationToken))
            yield return [change];
    }

    public IAsyncEnumerable<VideoJob> WatchAsync(Owner owner, string id, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<VideoContent> OpenAsync(Owner owner, string id, VideoVariant variant, CancellationToken cancellationToken) => throw new NotSupportedException();

    public IAsyncEnumerable<ReadOnlyMemory<byte>> StreamAsync(Owner owner, string id, CancellationToken cancellationToken) => throw new NotSupportedException();
}
