namespace PyramidFlow.Training.Sprites;

/// <summary>What a caption says about a clip, and what <see cref="SpriteJudge"/> measures in it.</summary>
/// <param name="Size">Size of the sprite.</param>
/// <param name="Colour">Colour of the sprite.</param>
/// <param name="Shape">Shape of the sprite.</param>
/// <param name="Motion">What the sprite does.</param>
/// <param name="Background">Colour of everything else.</param>
public readonly record struct SpriteAttributes(
    SpriteSize Size, SpriteColour Colour, SpriteShape Shape, SpriteMotion Motion, SpriteBackground Background)
{
    /// <summary>Number of colours that scenes are drawn with: all but the one that is taught later.</summary>
    public const int Colours = 8;

    /// <summary>
    /// Number of different attribute combinations: 2 sizes x 8 colours x 4 shapes x 7 motions x 6 backgrounds.
    /// </summary>
    public const int Combinations = 2 * Colours * 4 * 7 * 6;

    /// <summary>The combination with a number; numbers and combinations correspond one to one.</summary>
    /// <param name="number">0 to <see cref="Combinations"/> - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number is outside that range.</exception>
    public static SpriteAttributes FromNumber(int number)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(number);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(number, Combinations);
        (number, var size) = Math.DivRem(number, 2);
        (number, var colour) = Math.DivRem(number, Colours);
        (number, var shape) = Math.DivRem(number, 4);
        (var background, var motion) = Math.DivRem(number, 7);
        return new((SpriteSize)size, (SpriteColour)colour, (SpriteShape)shape, (SpriteMotion)motion,
            (SpriteBackground)background);
    }
}
