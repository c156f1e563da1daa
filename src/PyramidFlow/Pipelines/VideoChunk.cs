namespace PyramidFlow.Pipelines;

/// <summary>Some decoded frames of a video, in order.</summary>
/// <param name="FirstFrame">Number of its first frame.</param>
/// <param name="Count">Number of frames.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Rgb">Interleaved bytes, frame after frame: Count x Height x Width x 3.</param>
public sealed record VideoChunk(int FirstFrame, int Count, int Width, int Height, ReadOnlyMemory<byte> Rgb);
