namespace PyramidFlow.Training.Data;

/// <summary>Items that can be in one batch: of one size and length. Latents too are told by the pixels they stand for.</summary>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Frames">Frames of the clip, 1 + a multiple of 8; 1 is an image.</param>
public readonly record struct Bucket(int Width, int Height, int Frames) : IComparable<Bucket>
{
    /// <summary>Whether it holds images.</summary>
    public bool IsImage => Frames == 1;

    /// <summary>By frames, then width, then height.</summary>
    public int CompareTo(Bucket other) => (Frames, Width, Height).CompareTo((other.Frames, other.Width, other.Height));

    /// <inheritdoc/>
    public override string ToString() => IsImage ? $"{Width}x{Height}" : $"{Width}x{Height}, {Frames} frames";
}
