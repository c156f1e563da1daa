using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Http;

/// <summary>A video as REST shows it: the shape of OpenAI's, then what it has no word for.</summary>
internal sealed record VideoObject
{
    // Settings that OpenAI's shape has in its own form.
    private static readonly string[] Own = ["prompt", "size", "seconds", "num_frames"];

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

    /// <summary>When it is removed, in seconds since 1970; null for never.</summary>
    public long? ExpiresAt { get; init; }

    public required string Prompt { get; init; }

    /// <summary>Such as 640x384.</summary>
    public required string Size { get; init; }

    /// <summary>How long it is. An extension counts with what it goes on from; that of a file counts when it is completed.</summary>
    public required string Seconds { get; init; }

    public VideoError? Error { get; init; }

    public string? RemixedFromVideoId { get; init; }

    /// <summary>Where its end is announced; left out where there is nothing to announce.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Webhook { get; init; }

    public int NumFrames { get; init; }

    /// <summary>Ids of all videos of a request with <c>n</c>; null where it asked for one.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<string>? Ids { get; init; }

    /// <summary>The other settings it is made with, under the names of the request's fields.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement> Settings { get; set; } = [];

    /// <summary>Place among those that wait, from 1.</summary>
    public int? QueuePosition { get; init; }

    /// <summary>Seconds until it is done, as far as can be told.</summary>
    public double? SecondsLeft { get; init; }

    /// <summary><c>worker</c> while no running worker has the model and the LoRAs of a queued video; null otherwise.</summary>
    public string? WaitsFor { get; init; }

    /// <summary>The stage and step of the work on it.</summary>
    public StageObject? Stage { get; init; }

    /// <summary>The unit, from 1, from which its making goes on, because an earlier attempt has finished those before it; one more than there are where all were finished. Null begins with the first.</summary>
    public int? ResumedFromUnit { get; init; }

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
        ExpiresAt = job.ExpiresAt?.ToUnixTimeSeconds(),
        Prompt = job.Request.Prompt ?? "",
        Size = job.Request is { Width: { } width, Height: { } height } ? $"{width}x{height}" : "",
        Seconds = SecondsOf(job).ToString("0.##", CultureInfo.InvariantCulture),
        Error = job.Status == VideoStatus.Failed ? job.Error : null,
        RemixedFromVideoId = job.Request.RemixedFrom,
        Webhook = job.Request.Webhook,
        NumFrames = FramesOf(job),
        Settings = SettingsOf(job.Request),
        QueuePosition = job.QueuePosition,
        SecondsLeft = job.SecondsLeft,
        WaitsFor = job.HasNoWorker ? "worker" : null,
        Stage = job is { Status: VideoStatus.InProgress, Progress: { } progress } ? StageObject.Of(progress) : null,
        ResumedFromUnit = job.Progress?.ResumedFrom + 1,
        Warnings = job.Result?.Warnings is { Count: > 0 } warnings ? warnings : null,
    };

    private static int FramesOf(VideoJob job) => job.Result?.Frames ?? (job.Request.Frames ?? 0) + (job.Request.Input?.Frames ?? 0);

    // The request has the seconds of the new part.
    private static double SecondsOf(VideoJob job) => job.Request is { Input.Kind: VideoInputKind.Video, Frames: > 0 and var frames, Seconds: { } seconds }
        ? seconds * FramesOf(job) / frames
        : job.Request.Seconds ?? 0;

    private static Dictionary<string, JsonElement> SettingsOf(VideoRequest request)
    {
        using var json = JsonDocument.Parse(SettingsTable.ToJson(request, setting => Own.Contains(setting.Field) ? null : setting.Field));
        return json.RootElement.EnumerateObject().ToDictionary(member => member.Name, member => member.Value.Clone());
    }
}

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

/// <summary>A link to a video.</summary>
/// <param name="Url">Its address.</param>
/// <param name="ExpiresAt">Seconds since 1970.</param>
internal sealed record SharedLinkObject(string Url, long ExpiresAt);

/// <summary>The secret that signs the webhooks of a key.</summary>
/// <param name="Secret">In the form that libraries for Standard Webhooks take: whsec_ and base64.</param>
internal sealed record WebhookSecretObject(string Secret)
{
    public string Object { get; } = "webhook.secret";
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

/// <summary>A LoRA that requests may name.</summary>
/// <param name="Id">The name.</param>
/// <param name="Models">Ids of the models that it fits.</param>
internal sealed record LoraObject(string Id, IReadOnlyList<string> Models)
{
    public string Object { get; } = "lora";
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
[JsonSerializable(typeof(ListObject<LoraObject>))]
[JsonSerializable(typeof(WebhookSecretObject))]
[JsonSerializable(typeof(ImageList))]
[JsonSerializable(typeof(DeletedObject))]
[JsonSerializable(typeof(PreviewObject))]
[JsonSerializable(typeof(SharedLinkObject))]
[JsonSerializable(typeof(ListObject<AdminWorkerObject>))]
[JsonSerializable(typeof(ListObject<AdminVideoObject>))]
[JsonSerializable(typeof(ListObject<AdminKeyObject>))]
[JsonSerializable(typeof(AdminDiskObject))]
[JsonSerializable(typeof(ProblemObject))]
internal sealed partial class RestJson : JsonSerializerContext;
