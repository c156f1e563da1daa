namespace PyramidFlow.Media;

/// <summary>Where frames of a video go as they come: a file (<see cref="VideoWriter"/>) or whoever reads along
/// (<see cref="VideoStreamWriter"/>). One caller at a time.</summary>
public interface IVideoWriter : IAsyncDisposable
{
    /// <summary>Frames taken so far.</summary>
    long FrameCount { get; }

    /// <summary>Adds frames.</summary>
    /// <param name="rgb">One or more whole frames, 8-bit RGB, [frames, height, width, 3].</param>
    /// <param name="ct">Stops the encoder; the video cannot be continued after that.</param>
    /// <exception cref="ArgumentException">The bytes are not a whole number of frames.</exception>
    /// <exception cref="MediaException">The frames could not be encoded or written.</exception>
    Task WriteFramesAsync(ReadOnlyMemory<byte> rgb, CancellationToken ct = default);

    /// <summary>Finishes the video.</summary>
    /// <param name="ct">Stops the encoder.</param>
    /// <exception cref="MediaException">No frame was written, or the video could not be finished.</exception>
    Task CompleteAsync(CancellationToken ct = default);
}
