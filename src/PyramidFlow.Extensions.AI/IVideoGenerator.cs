namespace PyramidFlow.Extensions.AI;

/// <summary>
/// A generator of videos, in the style of <see cref="Microsoft.Extensions.AI.IImageGenerator"/>: Microsoft.Extensions.AI has none. Implementations can be used from several threads;
/// middleware derives from <see cref="DelegatingVideoGenerator"/> and is put together with <see cref="VideoGeneratorBuilder"/>.
/// </summary>
public interface IVideoGenerator : IDisposable
{
    /// <summary>Makes videos and returns them when they are whole.</summary>
    /// <param name="request">The prompt, and the picture that the video begins with.</param>
    /// <param name="options">Size, length and more; null takes the model's defaults.</param>
    /// <param name="cancellationToken">Stops the work.</param>
    Task<VideoGenerationResponse> GenerateAsync(VideoGenerationRequest request, VideoGenerationOptions? options = null, CancellationToken cancellationToken = default);

    /// <summary>Makes videos and returns parts of them as they are made. Work starts when the result is enumerated, and again with each further enumeration.</summary>
    /// <param name="request">The prompt, and the picture that the video begins with.</param>
    /// <param name="options">Size, length and more; null takes the model's defaults.</param>
    /// <param name="cancellationToken">Stops the work.</param>
    IAsyncEnumerable<VideoGenerationUpdate> GenerateStreamingAsync(VideoGenerationRequest request, VideoGenerationOptions? options = null, CancellationToken cancellationToken = default);

    /// <summary>Asks for an object of a type, such as <see cref="VideoGeneratorMetadata"/> or the generator at the end of the middleware; null where there is none.</summary>
    /// <param name="serviceType">The type.</param>
    /// <param name="serviceKey">Tells several of a type apart.</param>
    object? GetService(Type serviceType, object? serviceKey = null);
}
