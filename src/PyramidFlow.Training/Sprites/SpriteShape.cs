namespace PyramidFlow.Training.Sprites;

/// <summary>Outline of a sprite. Shapes of one radius have similar areas.</summary>
public enum SpriteShape
{
    /// <summary>A disc.</summary>
    Circle,

    /// <summary>An upright square.</summary>
    Square,

    /// <summary>An equilateral triangle with one corner up.</summary>
    Triangle,

    /// <summary>A five-pointed star with one point up.</summary>
    Star,
}
