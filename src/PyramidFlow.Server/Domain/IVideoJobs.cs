namespace PyramidFlow.Server.Domain;

/// <summary>
/// What REST and the page do with videos. Every call names who asks: another owner's videos are not found, and an owner
/// whose key was taken away is refused (<see cref="JobFault.NoKey"/>). Faults are <see cref="JobException"/> with a sentence for the user.
/// </summary>
public interface IVideoJobs
{
    /// <summary>Models there are, the default first; found anew at each call.</summary>
    IReadOnlyList<VideoModel> Models { get; }

    /// <summary>Checks a request, fills in its defaults and puts it into the queue.</summary>
    /// <param name="owner">Who asks.</param>
    /// <param name="request">What for.</param>
    /// <param name="upload">The picture or video that <see cref="VideoRequest.Input"/> speaks of, unless it names a job.</param>
    /// <param name="idempotencyKey">A second call with the same key, request and upload gives the first one's job; null is none.</param>
    /// <param name="cancel">Gives up before it is in the queue.</param>
    /// <exception cref="JobException">It cannot be made, the upload is refused, too many are under way, or too many were asked for in this minute.</exception>
    Task<VideoJob> SubmitAsync(Owner owner, VideoRequest request, VideoUpload? upload = null, string? idempotencyKey = null, CancellationToken cancel = default);

    /// <summary>A video, with its place in the queue.</summary>
    /// <exception cref="JobException">There is none of this owner.</exception>
    Task<VideoJob> GetAsync(Owner owner, string id, CancellationToken cancel = default);

    /// <summary>Some of an owner's videos.</summary>
    /// <exception cref="JobException">The limit is impossible, or the id to go on after unknown.</exception>
    Task<VideoList> ListAsync(Owner owner, VideoQuery query, CancellationToken cancel = default);

    /// <summary>Stops a video, within one step; it stays in the list as failed. One that has ended stays as it is.</summary>
    /// <exception cref="JobException">There is none of this owner.</exception>
    Task<VideoJob> CancelAsync(Owner owner, string id, CancellationToken cancel = default);

    /// <summary>Stops a video if it is under way and removes it with its files.</summary>
    /// <exception cref="JobException">There is none of this owner.</exception>
    Task DeleteAsync(Owner owner, string id, CancellationToken cancel = default);

    /// <summary>A video as it is now and after each change, until it has ended or is deleted. A slow reader misses what is out of date.</summary>
    /// <exception cref="JobException">There is none of this owner.</exception>
    IAsyncEnumerable<VideoJob> WatchAsync(Owner owner, string id, CancellationToken cancel = default);

    /// <summary>
    /// Says after each change which of an owner's videos changed, without end; a deleted one comes with its id only
    /// (<see cref="JobChange.Job"/> is null). Begin before <see cref="ListAsync"/>, so that nothing is missed.
    /// </summary>
    IAsyncEnumerable<IReadOnlyList<JobChange>> WatchAllAsync(Owner owner, CancellationToken cancel = default);

    /// <summary>Opens a file of a video.</summary>
    /// <exception cref="JobException">There is no such video, or no such file of it yet.</exception>
    Task<VideoContent> OpenAsync(Owner owner, string id, VideoVariant variant, CancellationToken cancel = default);

    /// <summary>
    /// A video while it is made, from its beginning: fragmented mp4, a fragment for each unit. Of one that is done, all at
    /// once. The pieces end with the video.
    /// </summary>
    /// <exception cref="JobException">There is no such video, or it waits or has failed.</exception>
    IAsyncEnumerable<ReadOnlyMemory<byte>> StreamAsync(Owner owner, string id, CancellationToken cancel = default);
}

/// <summary>A video that changed.</summary>
/// <param name="Id">Which.</param>
/// <param name="Job">How it is now; null when it is deleted.</param>
public sealed record JobChange(string Id, VideoJob? Job);

/// <summary>Which videos to list.</summary>
/// <param name="Limit">How many at most, 1 to 100.</param>
/// <param name="After">The id that the list goes on after; null begins it.</param>
/// <param name="OldestFirst">Whether the oldest come first and not the newest.</param>
public sealed record VideoQuery(int Limit = 20, string? After = null, bool OldestFirst = false);

/// <summary>Some videos.</summary>
/// <param name="Jobs">In the order asked for.</param>
/// <param name="HasMore">Whether more come after the last.</param>
public sealed record VideoList(IReadOnlyList<VideoJob> Jobs, bool HasMore);

/// <summary>A picture or video as a user sends it; it is decoded and encoded anew, and never kept or served as it came.</summary>
/// <param name="Content">Its bytes, read once, or twice where there is an idempotency key, for which it must be able to seek; limits hold while it is read.</param>
/// <param name="Name">What to call it in an error; never part of a path.</param>
public sealed record VideoUpload(Stream Content, string Name);

/// <summary>A file of a video.</summary>
/// <param name="Stream">Its bytes; seekable. The caller disposes it.</param>
/// <param name="ContentType">Such as <c>video/mp4</c>.</param>
/// <param name="FileName">A name to save it under.</param>
/// <param name="ChangedAt">When it was written.</param>
public sealed record VideoContent(Stream Stream, string ContentType, string FileName, DateTimeOffset ChangedAt);
