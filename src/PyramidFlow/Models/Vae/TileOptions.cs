namespace PyramidFlow.Models.Vae;

/// <summary>Works on square parts of the frames one after another: less memory, another picture near the seams.</summary>
/// <param name="Size">Side of a tile in pixels; frames that fit into one are not cut.</param>
/// <param name="Overlap">Share of a tile that lies over its neighbour: above 0, at most a half.</param>
/// <param name="Blend">How the overlap is blended.</param>
public sealed record TileOptions(int Size = 256, double Overlap = 0.25, TileBlend Blend = TileBlend.Weighted)
{
    /// <summary>Sizes that are tried where memory is short, the largest first.</summary>
    internal static IReadOnlyList<int> Sizes { get; } = [512, 384, 256, 192, 128];

    // Where memory ran out, tiles become smaller than a plan would make them.
    private static readonly int[] leastSizes = [96, 64];

    /// <summary>Whether a tile may be blended before the next is there.</summary>
    internal bool CanGoOneByOne => Blend == TileBlend.Weighted;

    /// <summary>The next smaller tiles; null when there are none.</summary>
    /// <param name="tiles">The present ones; null for whole frames.</param>
    /// <param name="side">The longer side of the frames, pixels.</param>
    internal static TileOptions? Smaller(TileOptions? tiles, long side)
    {
        var present = Math.Min(side, tiles?.Size ?? side);
        var next = Sizes.Concat(leastSizes).FirstOrDefault(size => size < present);
        return next == 0 ? null : (tiles ?? new TileOptions()) with { Size = next };
    }

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
