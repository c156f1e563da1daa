using System.ComponentModel;

namespace PyramidFlow.Server.Http;

/// <summary>A request for a video, for the OpenAPI document; <see cref="RequestReader"/> reads it.</summary>
internal sealed record CreateVideo
{
    [Description("What is to be seen; may be empty only with something to begin with.")]
    public required string Prompt { get; init; }

    [Description("A model of /v1/models; the default is its first.")]
    public string? Model { get; init; }

    [Description("A picture (first frame) or a video (gone on from); in JSON a data URL.")]
    public IFormFile? InputReference { get; init; }

    [Description("How long, such as \"5\"; the nearest possible length is taken.")]
    public string? Seconds { get; init; }

    [Description("WIDTHxHEIGHT, such as 640x384.")]
    public string? Size { get; init; }

    [Description("In place of seconds: 1 + a multiple of 8.")]
    public int? NumFrames { get; init; }

    [Description("Frames per second that the file is played with.")]
    public double? Fps { get; init; }

    [Description("Steps of each stage of the first part; later parts take fewer, as the model does.")]
    public int? NumInferenceSteps { get; init; }

    [Description("How closely to follow the prompt; 0 is off.")]
    public double? GuidanceScale { get; init; }

    [Description("The same seed gives the same video; -1 is any.")]
    public long? Seed { get; init; }

    [Description("What is not to be seen.")]
    public string? NegativePrompt { get; init; }

    [Description("Object (in a form: JSON, or extra_params[name]) with these and more: steps, video_steps (lists), video_guidance_scale, prompt_suffix, prompts ([{from, prompt}]), reuse_prefix, guidance_every, solver (euler, second-order), extend_video_id, last_frame_of_video_id.")]
    public string? ExtraParams { get; init; }
}

/// <summary>A request for a video made again with another prompt.</summary>
internal sealed record RemixVideo
{
    [Description("What is to be seen now.")]
    public required string Prompt { get; init; }
}

/// <summary>A request for a longer video.</summary>
internal sealed record ExtendVideo
{
    [Description("What is to be seen then.")]
    public required string Prompt { get; init; }

    [Description("How much longer.")]
    public string? Seconds { get; init; }

    [Description("The video to go on from: an object with its id, or a file.")]
    public required IFormFile Video { get; init; }
}
