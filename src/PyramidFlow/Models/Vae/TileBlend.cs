namespace PyramidFlow.Models.Vae;

/// <summary>How overlapping tiles become one picture.</summary>
public enum TileBlend
{
    /// <summary>Every pixel is the mean of the tiles over it, weighted by their distance from their edges.</summary>
    Weighted,

    /// <summary>
    /// As the released code does it, for comparison with it: each tile fades in over its upper and left neighbours,
    /// which have been faded before it; tiles whose step is no multiple of the VAE's scale give latents of a wrong size.
    /// </summary>
    Sequential,
}
