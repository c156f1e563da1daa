using Microsoft.Extensions.AI;

namespace PyramidFlow.Extensions.AI;

/// <summary>Videos that were made.</summary>
public class VideoGenerationResponse
{
    /// <summary>Creates a response.</summary>
    /// <param name="contents">The videos.</param>
    public VideoGenerationResponse(IList<AIContent> contents) => Contents = contents;

    /// <summary>The videos; each is a <see cref="DataContent"/> where the implementation has its bytes.</summary>
    public IList<AIContent> Contents { get; set; }

    /// <summary>Sentences for the user, such as that the prompt was cut.</summary>
    public IReadOnlyList<string> Warnings { get; set; } = [];

    /// <summary>The response of the implementation.</summary>
    public object? RawRepresentation { get; set; }

    /// <summary>More, from middleware and other implementations.</summary>
    public AdditionalPropertiesDictionary? AdditionalProperties { get; set; }
}

/// <summary>A part of a video that is being made.</summary>
public class VideoGenerationUpdate
{
    /// <summary>Creates an update.</summary>
    /// <param name="contents">The part.</param>
    public VideoGenerationUpdate(IList<AIContent> contents) => Contents = contents;

    /// <summary>The part; the <see cref="DataContent"/> of the updates of a video, one after another, are the video, and can be played as they come.</summary>
    public IList<AIContent> Contents { get; set; }

    /// <summary>Which video of the request it belongs to, from 0.</summary>
    public int VideoIndex { get; set; }

    /// <summary>Frames of its video that are made.</summary>
    public int FramesDone { get; set; }

    /// <summary>Frames that its video will have; null where that is not known.</summary>
    public int? FrameCount { get; set; }

    /// <summary>Sentences for the user so far.</summary>
    public IReadOnlyList<string> Warnings { get; set; } = [];

    /// <summary>The update of the implementation; here a <see cref="Generation.VideoChunk"/>.</summary>
    public object? RawRepresentation { get; set; }
}

/// <summary>Which implementation makes the videos.</summary>
/// <param name="providerName">Its name.</param>
/// <param name="providerUri">Its address; null where it has none.</param>
/// <param name="defaultModelId">The model that it takes unless another is asked for; null where that is not known.</param>
public class VideoGeneratorMetadata(string? providerName = null, Uri? providerUri = null, string? defaultModelId = null)
{
    /// <summary>Its name.</summary>
    public string? ProviderName { get; } = providerName;

    /// <summary>Its address.</summary>
    public Uri? ProviderUri { get; } = providerUri;

    /// <summary>The model that it takes unless another is asked for.</summary>
    public string? DefaultModelId { get; } = defaultModelId;
}
