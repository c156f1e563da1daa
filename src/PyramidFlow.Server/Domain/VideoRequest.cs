using PyramidFlow.Generation;

namespace PyramidFlow.Server.Domain;

/// <summary>
/// What a user asks for: the settings of a generation, with a model of this service and what the video begins with. What is left null
/// takes the model's own default; once accepted, everything is filled in (<see cref="VideoJob.Request"/>).
/// </summary>
public sealed record VideoRequest : GenerationOptions
{
    /// <summary>A <see cref="VideoModel.Id"/>.</summary>
    public string? Model { get; init; }

    /// <summary>A picture or video to begin with; a prompt may be empty only with one.</summary>
    public VideoInput? Input { get; init; }

    /// <summary>Address where the end of the video is announced; null for none.</summary>
    public string? Webhook { get; init; }

    /// <summary>The video this one was remixed from.</summary>
    public string? RemixedFrom { get; init; }

    /// <summary>The first of the videos that differ from this one in their seed alone; null where this is the first, or the only one.</summary>
    public string? Group { get; init; }
}
