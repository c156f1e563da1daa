namespace PyramidFlow.Server.Domain;

/// <summary>
/// The operations of REST and the page on videos. Every call names the owner who asks: videos of other owners are not
/// found, and an owner whose key was removed is refused (<see cref="JobFaultKind.NoKey"/>). Faults are <see
/// cref="JobException"/> with a sentence for the user.
/// </summary>
internal interface IVideoJobs
{
    /// <summary>The available models, the default first; looked up anew at each call.</summary>
    IReadOnlyList<VideoModel> Models { get; }

    /// <summary>The LoRAs that requests may name, by name; looked up anew at each call.</summary>
    IReadOnlyList<VideoLora> Loras { get; }

    /// <summary>Checks a request, fills in its defaults and puts it into the queue.</summary>
    /// <param name="owner">Owner of the request.</param>
    /// <param name="request">The request.</param>
    /// <param name="upload">The picture or video of <see cref="VideoRequest.Input"/>, unless that names a job.</param>
    /// <param name="idempotencyKey">A second call with the same key, request and upload returns the job of the first call; null for none.</param>
    /// <param name="cancellationToken">Cancels the call before the job is in the queue.</param>
    /// <exception cref="JobException">The request is impossible, the upload is refused, or the owner has too many active jobs or requests in this minute.</exception>
    Task<VideoJob> SubmitAsync(Owner owner, VideoRequest request, VideoUpload? upload = null, IdempotencyKey? idempotencyKey = null, CancellationToken cancellationToken = default);

    /// <summary>Reads a video with its place in the queue.</summary>
    /// <exception cref="JobException">The owner has no such video.</exception>
    Task<VideoJob> GetAsync(Owner owner, string id, CancellationToken cancellationToken = default);

    /// <summary>Lists videos of an owner.</summary>
    /// <exception cref="JobException">The limit is out of range, or the id in <see cref="VideoQuery.After"/> is unknown.</exception>
    Task<VideoList> ListAsync(Owner owner, VideoQuery query, CancellationToken cancellationToken = default);

    /// <summary>Stops a video within one step. It stays in the list as failed; an ended video does not change.</summary>
    /// <exception cref="JobException">The owner has no such video.</exception>
    Task<VideoJob> CancelAsync(Owner owner, string id, CancellationToken cancellationToken = default);

    /// <summary>Changes a video while it is made, from the next unit on: its prompt, or its end.</summary>
    /// <exception cref="JobException">The owner has no such video, it is not being made, or the change comes too late.</exception>
    Task<LiveAnswer> ChangeAsync(Owner owner, string id, LiveChange change, CancellationToken cancellationToken = default);

    /// <summary>Marks a video as a favourite of its owner, or takes the mark off.</summary>
    /// <exception cref="JobException">The owner has no such video.</exception>
    Task<VideoJob> MarkAsync(Owner owner, string id, bool isFavourite, CancellationToken cancellationToken = default);

    /// <summary>Stops a video if it is active, and removes it with its files.</summary>
    /// <exception cref="JobException">The owner has no such video.</exception>
    Task DeleteAsync(Owner owner, string id, CancellationToken cancellationToken = default);

    /// <summary>
    /// Yields the current state of a video and each later state, until the video has ended or is deleted. A slow reader
    /// misses outdated states.
    /// </summary>
    /// <exception cref="JobException">The owner has no such video.</exception>
    IAsyncEnumerable<VideoJob> WatchAsync(Owner owner, string id, CancellationToken cancellationToken = default);

    /// <summary>
    /// Yields the changes of an owner's videos, without end. A deleted video has a null <see cref="JobChange.Job"/>.
    /// Start this before <see cref="ListAsync"/>, so that no change is missed.
    /// </summary>
    IAsyncEnumerable<IReadOnlyList<JobChange>> WatchAllAsync(Owner owner, CancellationToken cancellationToken = default);

    /// <summary>Opens a file of a video.</summary>
    /// <exception cref="JobException">The video does not exist, or has no such file yet.</exception>
    Task<VideoContent> OpenAsync(Owner owner, string id, VideoVariant variant, CancellationToken cancellationToken = default);

    /// <summary>
    /// Streams a video from its beginning while it is made: fragmented mp4, one fragment for each unit. A completed
    /// video is streamed at once. The stream ends with the video.
    /// </summary>
    /// <exception cref="JobException">The video does not exist, is queued or has failed.</exception>
    IAsyncEnumerable<ReadOnlyMemory<byte>> StreamAsync(Owner owner, string id, CancellationToken cancellationToken = default);
}

/// <summary>The key by which a request is known when it is repeated.</summary>
/// <param name="Text">The key as the client sent it.</param>
/// <param name="Count">Number of videos that the request asks for.</param>
/// <param name="Number">Which of them this one is, from 0.</param>
internal sealed record IdempotencyKey(string Text, int Count = 1, int Number = 0)
{
    /// <summary>The key of this video. Headers have no line break, so that no client sends the key of a later one.</summary>
    public string OfVideo => Number == 0 ? Text : FormattableString.Invariant($"{Text}\n{Number}");
}

/// <summary>A change of a video.</summary>
/// <param name="Id">Id of the video.</param>
/// <param name="Job">The new state; null when the video was deleted.</param>
internal sealed record JobChange(string Id, VideoJob? Job);

/// <summary>The videos to list.</summary>
/// <param name="Limit">Maximum number, 1 to <see cref="Most"/>.</param>
/// <param name="After">Id after which the list continues; null starts at the beginning.</param>
/// <param name="OldestFirst">Whether the oldest come first instead of the newest.</param>
internal sealed record VideoQuery(int Limit = 20, string? After = null, bool OldestFirst = false)
{
    /// <summary>The greatest limit.</summary>
    public const int Most = 100;

    private const int MostParts = 8;

    /// <summary>Words that all stand in the prompts of a listed video, in upper or lower case; empty lists any.</summary>
    public string Words { get; init; } = "";

    /// <summary>Whether only completed favourites are listed.</summary>
    public bool OnlyFavourites { get; init; }

    /// <summary>Whether not all videos are listed.</summary>
    public bool IsSearch => OnlyFavourites || !string.IsNullOrWhiteSpace(Words);

    /// <summary>
    /// Parts of the words of which each stands in the request of a video that is found, whatever the case of its letters, which all databases know alike: runs of ASCII letters and digits, the longest ones.
    /// </summary>
    public IReadOnlyList<string> Parts => [.. Words.Split([.. Words.Where(letter => !char.IsAsciiLetterOrDigit(letter)).Distinct()], StringSplitOptions.RemoveEmptyEntries)
        .Distinct(StringComparer.OrdinalIgnoreCase).OrderByDescending(part => part.Length).Take(MostParts)];

    /// <summary>Whether a video is one of those to list; a search finds completed ones.</summary>
    public bool Finds(VideoJob job) => !IsSearch || (job.Status == VideoStatus.Completed && (job.IsFavourite || !OnlyFavourites)
        && Words.Split(' ', StringSplitOptions.RemoveEmptyEntries).All(word => job.Request.Schedule.Select(change => change.Prompt).Append(job.Request.Prompt ?? "")
            .Any(prompt => prompt.Contains(word, StringComparison.OrdinalIgnoreCase))));
}

/// <summary>A page of a list of videos.</summary>
/// <param name="Jobs">The videos, in the requested order.</param>
/// <param name="HasMore">Whether more videos follow, or, in a search, may follow.</param>
/// <param name="Last">Id after which the list continues; null for an empty list.</param>
internal sealed record VideoList(IReadOnlyList<VideoJob> Jobs, bool HasMore, string? Last);

/// <summary>A picture or video as the user sent it. It is decoded and encoded anew, and never stored or served as it came.</summary>
/// <param name="Content">The bytes. They are read once, and twice with an idempotency key: the stream must then support seeking. Size limits apply while they are read.</param>
/// <param name="Name">Name for error messages; never part of a path.</param>
internal sealed record VideoUpload(Stream Content, string Name);

/// <summary>A file of a video.</summary>
/// <param name="Stream">The bytes; seekable. The caller disposes the stream.</param>
/// <param name="ContentType">Media type such as <c>video/mp4</c>.</param>
/// <param name="FileName">Suggested name of the downloaded file.</param>
/// <param name="ChangedAt">Time of the last write.</param>
internal sealed record VideoContent(Stream Stream, string ContentType, string FileName, DateTimeOffset ChangedAt);
