namespace PyramidFlow.Training.Sprites;

/// <summary>Paints a share of the scenes of a data set in one colour, such as one that the world has not; the others stay as they are.</summary>
/// <param name="Colour">The colour.</param>
/// <param name="Share">Share of the scenes, 0..1.</param>
public readonly record struct SpriteExtraColour(SpriteColour Colour, double Share)
{
    private const long Stream = 504;

    /// <summary>The scene as it is, or in the colour.</summary>
    /// <param name="scene">The scene.</param>
    /// <param name="seed">Seed of the data set.</param>
    /// <param name="index">Number of the scene.</param>
    public SpriteScene Paint(SpriteScene scene, long seed, long index) => new SpriteRandom(seed, Stream, index).NextSingle() < Share
        ? scene with { Attributes = scene.Attributes with { Colour = Colour } }
        : scene;
}
