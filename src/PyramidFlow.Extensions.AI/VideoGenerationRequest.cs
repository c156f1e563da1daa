using System.Drawing;
using Microsoft.Extensions.AI;

namespace PyramidFlow.Extensions.AI;

/// <summary>A request for a video: its prompt, and a picture that it begins with.</summary>
public sealed class VideoGenerationRequest
{
    /// <summary>Creates an empty request.</summary>
    public VideoGenerationRequest()
    {
    }

    /// <summary>Creates a request.</summary>
    /// <param name="prompt">Description of the video.</param>
    /// <param name="startImage">Its first frame; null where there is none.</param>
    public VideoGenerationRequest(string prompt, DataContent? startImage = null) => (Prompt, StartImage) = (prompt, startImage);

    /// <summary>Description of the video.</summary>
    public string? Prompt { get; set; }

    /// <summary>A picture that is the first frame, cut to the shape of the video.</summary>
    public DataContent? StartImage { get; set; }
}

/// <summary>How a video is made; what is null takes the model's default.</summary>
public class VideoGenerationOptions
{
    /// <summary>Creates empty options.</summary>
    public VideoGenerationOptions()
    {
    }

    /// <summary>Copies options.</summary>
    /// <param name="other">The options to copy.</param>
    protected VideoGenerationOptions(VideoGenerationOptions other)
    {
        ArgumentNullException.ThrowIfNull(other);
        (Count, VideoSize, Duration, FramesPerSecond, Seed) = (other.Count, other.VideoSize, other.Duration, other.FramesPerSecond, other.Seed);
        (NegativePrompt, MediaType, ModelId, RawRepresentationFactory) = (other.NegativePrompt, other.MediaType, other.ModelId, other.RawRepresentationFactory);
        AdditionalProperties = other.AdditionalProperties?.Clone();
    }

    /// <summary>Number of videos.</summary>
    public int? Count { get; set; }

    /// <summary>Pixels; the nearest size that the model can make is taken.</summary>
    public Size? VideoSize { get; set; }

    /// <summary>Length; the nearest one that the model can make is taken.</summary>
    public TimeSpan? Duration { get; set; }

    /// <summary>Playback rate.</summary>
    public double? FramesPerSecond { get; set; }

    /// <summary>Seed of the first video; the others count on from it.</summary>
    public long? Seed { get; set; }

    /// <summary>What the video does not show.</summary>
    public string? NegativePrompt { get; set; }

    /// <summary>Media type of the video, such as <c>video/mp4</c>.</summary>
    public string? MediaType { get; set; }

    /// <summary>Name of the model.</summary>
    public string? ModelId { get; set; }

    /// <summary>
    /// Gives the options of the implementation that it begins with, as in Microsoft.Extensions.AI; here a <see cref="Generation.GenerationOptions"/>. Every other property that is set
    /// takes the place of its value.
    /// </summary>
    public Func<IVideoGenerator, object?>? RawRepresentationFactory { get; set; }

    /// <summary>More, for middleware and other implementations.</summary>
    public AdditionalPropertiesDictionary? AdditionalProperties { get; set; }

    /// <summary>A copy.</summary>
    public virtual VideoGenerationOptions Clone() => new(this);
}
