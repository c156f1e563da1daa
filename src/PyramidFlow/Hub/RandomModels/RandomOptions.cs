namespace PyramidFlow.Hub.RandomModels;

/// <summary>Which checkpoint a random one is like.</summary>
public enum RandomLayout
{
    /// <summary><c>pyramid-flow-miniflux</c>, variant 384p.</summary>
    Miniflux,

    /// <summary><c>pyramid-flow-sd3</c>, variant 384p.</summary>
    Sd3,

    /// <summary>The model of this repository.</summary>
    Sprites,
}

/// <summary>How large it is.</summary>
public enum RandomScale
{
    /// <summary>A few thousand weights, for tests: 64x64 pixels in a second.</summary>
    Tiny,

    /// <summary>The released sizes.</summary>
    Real,
}

/// <summary>What to write.</summary>
/// <param name="Layout">Which checkpoint it is like.</param>
/// <param name="Scale">How large it is.</param>
/// <param name="Seed">Seed of the weights; the same gives the same files.</param>
public sealed record RandomOptions(RandomLayout Layout, RandomScale Scale = RandomScale.Real, ulong Seed = 0);
