using PyramidFlow.Sprites;

namespace PyramidFlow.Cli.Evaluating;

/// <summary>The scenes of an evaluation.</summary>
/// <param name="Seed">Which scenes and noise.</param>
/// <param name="Colour">What all sprites are painted in; null leaves them as they are.</param>
internal sealed record SpriteScenes(long Seed, SpriteColour? Colour = null)
{
    /// <summary>A scene by its number, from 0.</summary>
    public SpriteScene Scene(int index) => Painted(SpriteWorld.EvaluationScene(Seed, index));

    /// <summary>A scene whose sprite turns.</summary>
    public SpriteTurn Turn(int index)
    {
        var turn = SpriteTurn.Evaluation(Seed, index);
        return turn with { Start = Painted(turn.Start) };
    }

    private SpriteScene Painted(SpriteScene scene) =>
        Colour is { } colour ? scene with { Attributes = scene.Attributes with { Colour = colour } } : scene;
}
