using System.Globalization;
using System.Text.Json.Serialization;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Http;

/// <summary>A video as REST shows it: the shape of OpenAI's, then what it has no word for.</summary>
internal sealed record VideoObject
{
    public required string Id { get; init; }

    public string Object { get; init; } = "video";

    public required string Model { get; init; }

    /// <summary>queued, in_progress, completed or failed.</summary>
    public required string Status { get; init; }

    /// <summary>Percent, 0 to 100.</summary>
    public int Progress { get; init; }

    /// <summary>Seconds since 1970.</summary>
    public long CreatedAt { get; init; }

    public long? CompletedAt { get; init; }

    public long? ExpiresAt { get; init; }

    public required string Prompt { get; init; }

    /// <summary>Such as 640x384.</summary>
    public required string Size { get; init; }

    /// <summary>How long it is.</summary>
    public required string Seconds { get; init; }

    public VideoError? Error { get; init; }

    public string? RemixedFromVideoId { get; init; }

    public string? NegativePrompt { get; init; }

    /// <summary>Text put after every prompt.</summary>
    public string? PromptSuffix { get; init; }

    /// <summary>Prompts that take over later.</summary>
    public IReadOnlyList<PromptObject>? Prompts { get; init; }

    public int NumFrames { get; init; }

    public double? Fps { get; init; }

    public ulong Seed { get; init; }

    public double? GuidanceScale { get; init; }

    public double? VideoGuidanceScale { get; init; }

    /// <summary>Steps of each stage of the first unit.</summary>
    public IReadOnlyList<int>? Steps { get; init; }

    /// <summary>The same for later units.</summary>
    public IReadOnlyList<int>? VideoSteps { get; init; }

    /// <summary>For how many steps text and history are computed once; null is each.</summary>
    public int? ReusePrefix { get; init; }

    /// <summary>In every how many steps guidance is computed; null is each.</summary>
    public int? GuidanceEvery { get; init; }

    /// <summary>Name of the solver that integrates the flow; null is euler.</summary>
    public string? Solver { get; init; }

    /// <summary>Place among those that wait, from 1.</summary>
    public int? QueuePosition { get; init; }

    /// <summary>Seconds until it is done, as far as can be told.</summary>
    public double? SecondsLeft { get; init; }

    /// <summary>Where its making is.</summary>
    public StageObject? Stage { get; init; }

    /// <summary>Sentences about the finished video.</summary>
    public IReadOnlyList<string>? Warnings { get; init; }

    public static VideoObject Of(VideoJob job) => new()
    {
        Id = job.Id,
        Model = job.Request.Model!,
        Status = job.Status switch
        {
            VideoStatus.Queued => "queued",
            VideoStatus.InProgress => "in_progress",
            VideoStatus.Completed => "completed",
            _ => "failed",
        },
        Progress = job.Status == VideoStatus.Completed ? 100 : Math.Min(99, (int)(100 * (job.Progress?.Fraction ?? 0))),
        CreatedAt = job.CreatedAt.ToUnixTimeSeconds(),
        CompletedAt = job.CompletedAt?.ToUnixTimeSeconds(),
        Prompt = job.Request.Prompt,
        Size = job.Request is { Width: { } width, Height: { } height } ? $"{width}x{height}" : "",
        Seconds = (job.Request.Seconds ?? 0).ToString("0.##", CultureInfo.InvariantCulture),
        Error = job.Status == VideoStatus.Failed ? job.Error : null,
        RemixedFromVideoId = job.Request.RemixedFrom,
        NegativePrompt = job.Request.NegativePrompt,
        PromptSuffix = job.Request.PromptSuffix,
        Prompts = job.Request.Schedule.Count > 0 ? [.. job.Request.Schedule.Select(change => new PromptObject(change.FromSeconds, change.Prompt))] : null,
        NumFrames = job.Result?.Frames ?? job.Request.Frames ?? 0,
        Fps = job.Request.FramesPerSecond,
        Seed = job.Request.Seed ?? 0,
        GuidanceScale = job.Request.Guidance,
        VideoGuidanceScale = job.Request.VideoGuidance,
        Steps = job.Request.Steps,
        VideoSteps = job.Request.VideoSteps,
        ReusePrefix = job.Request.ReusePrefix,
        GuidanceEvery = job.Request.GuidanceEvery,
        Solver = job.Request.Solver?.Name,
        QueuePosition = job.QueuePosition,
        SecondsLeft = job.SecondsLeft,
        Stage = job is { Status: VideoStatus.InProgress, Progress: { } progress } ? StageObject.Of(progress) : null,
        Warnings = job.Result?.Warnings is { Count: > 0 } warnings ? warnings : null,
    };
}

/// <summary>A prompt that takes over at a second.</summary>
internal sealed record PromptObject(double From, string Prompt);

/// <summary>Where the making of a video is; numbers count from 1.</summary>
internal sealed record StageObject(string Phase, int Unit, int Units, int Stage, int Stages, int Step, int Steps, int Preview, int LiveFrames)
{
    public static StageObject Of(VideoProgress progress) => new(JsonNames.Of(progress.Phase), progress.Unit + 1, progress.Units, progress.Stage + 1,
        progress.Stages, progress.Step, progress.Steps, progress.Preview, progress.LiveFrames);
}

/// <summary>A page of a list, as OpenAI shapes it.</summary>
internal sealed record ListObject<T>(IReadOnlyList<T> Data, bool HasMore, string? FirstId = null, string? LastId = null)
{
    public string Object { get; } = "list";
}

/// <summary>A video that has been removed.</summary>
internal sealed record DeletedObject(string Id)
{
    public string Object { get; } = "video.deleted";

    public bool Deleted { get; } = true;
}

/// <summary>A model with what it uses unless the user says otherwise.</summary>
internal sealed record ModelObject(
    string Id, string Size, int SizeMultiple, int NumFrames, double Fps, double MaxSeconds, IReadOnlyList<int> Steps, IReadOnlyList<int> VideoSteps,
    double GuidanceScale, double VideoGuidanceScale, string NegativePrompt)
{
    public string Object { get; } = "model";

    public long Created { get; }

    public string OwnedBy { get; } = "pyramidflow";

    public static ModelObject Of(VideoModel model) => new(model.Id, $"{model.Settings.Width}x{model.Settings.Height}", model.SizeMultiple, model.Settings.Frames,
        model.Settings.FramesPerSecond, Math.Round(model.MaxSeconds, 2), model.Settings.Steps, model.Settings.VideoSteps, model.Settings.Guidance,
        model.Settings.VideoGuidance, model.Settings.NegativePrompt);
}

/// <summary>A preview picture in an event.</summary>
/// <param name="Number">Counts from 1.</param>
/// <param name="Url">The PNG as a data URL.</param>
internal sealed record PreviewObject(int Number, string Url);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(VideoObject))]
[JsonSerializable(typeof(ListObject<VideoObject>))]
[JsonSerializable(typeof(ListObject<ModelObject>))]
[JsonSerializable(typeof(ModelObject))]
[JsonSerializable(typeof(DeletedObject))]
[JsonSerializable(typeof(PreviewObject))]
[JsonSerializable(typeof(ProblemObject))]
internal sealed partial class RestJson : JsonSerializerContext;
