namespace PyramidFlow.Vae;

/// <summary>Works on square parts of the frames one after another: less memory, another picture near the seams.</summary>
/// <param name="Size">Side of a tile in pixels; frames that fit into one are not cut.</param>
/// <param name="Overlap">Share of a tile that lies over its neighbour: above 0, at most a half.</param>
/// <param name="Blend">How the overlap is blended.</param>
public sealed record TileOptions(int Size = 256, double Overlap = 0.25, TileBlend Blend = TileBlend.Weighted)
{
    /// <summary>Fails on sizes and overlaps that are impossible whatever the frames.</summary>
    /// <param name="scale">Pixels along a side of a latent.</param>
    /// <exception cref="ArgumentException">They are; says what would be possible.</exception>
    public void Check(int scale)
    {
        if (!(Overlap is > 0 and <= 0.5))
            throw new ArgumentException(FormattableString.Invariant($"a tile overlap of {Overlap} is not above 0 and at most 0.5: use 0.25"));
        if (Size < 2 * scale || Size % scale != 0)
            throw new ArgumentException($"tiles of {Size} pixels are not a multiple of {scale} and at least {2 * scale}: use 256");
    }
}
