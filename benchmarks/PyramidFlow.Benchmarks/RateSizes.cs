namespace PyramidFlow.Benchmarks;

/// <summary>Sizes of the single operations whose speed is the yardstick for whole models.</summary>
/// <param name="Tokens">Rows of the matrix products.</param>
/// <param name="Dim">Width of the transformer: the products are Dim to Dim, Dim to 4 Dim and back.</param>
/// <param name="Channels">Channels in and out of the 3x3x3 convolution.</param>
/// <param name="Side">Height and width of its frames; two frames come out.</param>
/// <param name="CopyBytes">Bytes of the copied tensor; well beyond the caches.</param>
public sealed record RateSizes(long Tokens, long Dim, long Channels, long Side, long CopyBytes)
{
    /// <summary>Shapes of the released models.</summary>
    public static RateSizes Released { get; } = new(1024, 1920, 256, 64, 256L << 20);

    /// <summary>The same with as many rows and pixels as keep a GPU busy.</summary>
    public static RateSizes ReleasedOnGpu { get; } = new(8192, 1920, 256, 256, 4L << 30);
}
