namespace PyramidFlow.Generation;

/// <summary>Some decoded frames of a video, in order.</summary>
/// <param name="FirstFrame">Number of its first frame in its clip.</param>
/// <param name="Count">Number of frames.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Rgb">Interleaved bytes, frame after frame: Count x Height x Width x 3.</param>
public sealed record VideoChunk(int FirstFrame, int Count, int Width, int Height, ReadOnlyMemory<byte> Rgb)
{
    /// <summary>Which clip of the run it belongs to, from 0.</summary>
    public int Item { get; init; }

    /// <summary>
    /// The latents of these frames; those of a clip's chunks joined (<see cref="LatentClip.Join"/>) are its latents. Null for given
    /// frames that nothing is made from.
    /// </summary>
    public LatentClip? Latents { get; init; }
}
