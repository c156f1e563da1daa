namespace PyramidFlow.Sprites;

/// <summary>The attributes that a caption states and <see cref="SpriteJudge"/> measures.</summary>
/// <param name="Size">Size of the sprite.</param>
/// <param name="Colour">Colour of the sprite.</param>
/// <param name="Shape">Shape of the sprite.</param>
/// <param name="Motion">Motion of the sprite.</param>
/// <param name="Background">Colour of the background.</param>
internal readonly record struct SpriteAttributes(
    SpriteSize Size, SpriteColour Colour, SpriteShape Shape, SpriteMotion Motion, SpriteBackground Background)
{
    /// <summary>Number of colours that scenes use: all but the one reserved for later training.</summary>
    public const int Colours = 8;

    /// <summary>
    /// Number of different attribute combinations: 2 sizes x 8 colours x 4 shapes x 7 motions x 6 backgrounds.
    /// </summary>
    public const int Combinations = 2 * Colours * 4 * 7 * 6;

    /// <summary>Returns the combination with a number; the mapping is one to one.</summary>
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

/// <summary>Size of a sprite: its largest radius in the clip.</summary>
internal enum SpriteSize
{
    /// <summary>Radius 18 pixels.</summary>
    Small,

    /// <summary>Radius 30 pixels.</summary>
    Large,
}

/// <summary>
/// Colour of a sprite; see <see cref="SpritePalette"/> for the values. Scenes use the first <see cref="SpriteAttributes.Colours"/>; the last one is
/// reserved for later training.
/// </summary>
public enum SpriteColour
{
    /// <summary>Red.</summary>
    Red,

    /// <summary>Green.</summary>
    Green,

    /// <summary>Blue.</summary>
    Blue,

    /// <summary>Yellow.</summary>
    Yellow,

    /// <summary>Purple.</summary>
    Purple,

    /// <summary>Orange.</summary>
    Orange,

    /// <summary>White.</summary>
    White,

    /// <summary>Cyan.</summary>
    Cyan,

    /// <summary>Pink; only scenes painted by <see cref="SpriteExtraColour"/> use it.</summary>
    Pink,
}

/// <summary>Outline of a sprite. Shapes of the same radius have similar areas.</summary>
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

/// <summary>Motion of a sprite. Every motion ends at rest, so that clips can have any length.</summary>
internal enum SpriteMotion
{
    /// <summary>Moves left to the edge of the frame.</summary>
    Left,

    /// <summary>Moves right to the edge of the frame.</summary>
    Right,

    /// <summary>Moves up to the edge of the frame.</summary>
    Up,

    /// <summary>Moves down to the edge of the frame.</summary>
    Down,

    /// <summary>Grows from half the radius to the full radius.</summary>
    Growing,

    /// <summary>Shrinks from the full radius to half of it.</summary>
    Shrinking,

    /// <summary>Stands still.</summary>
    Still,
}

/// <summary>Background colour: dark and muted, far from all sprite colours.</summary>
internal enum SpriteBackground
{
    /// <summary>Black.</summary>
    Black,

    /// <summary>Gray.</summary>
    Gray,

    /// <summary>Navy, a dark blue.</summary>
    Navy,

    /// <summary>Brown.</summary>
    Brown,

    /// <summary>Maroon, a dark red.</summary>
    Maroon,

    /// <summary>Teal, a dark blue-green.</summary>
    Teal,
}

/// <summary>The palette of the world, 8-bit RGB.</summary>
internal static class SpritePalette
{
    /// <summary>RGB of a sprite colour, each 0..255.</summary>
    /// <param name="colour">The colour.</param>
    /// <exception cref="ArgumentOutOfRangeException">Not a colour of the palette.</exception>
    public static (byte R, byte G, byte B) Rgb(SpriteColour colour) => colour switch
    {
        SpriteColour.Red => (228, 34, 38),
        SpriteColour.Green => (44, 190, 62),
        SpriteColour.Blue => (44, 96, 255),
        SpriteColour.Yellow => (252, 230, 48),
        SpriteColour.Purple => (166, 56, 222),
        SpriteColour.Orange => (255, 128, 12),
        SpriteColour.White => (246, 246, 246),
        SpriteColour.Cyan => (36, 216, 236),
        SpriteColour.Pink => (255, 122, 184),
        _ => throw new ArgumentOutOfRangeException(nameof(colour), colour, null),
    };

    /// <summary>RGB of a background, each 0..255.</summary>
    /// <param name="background">The background.</param>
    /// <exception cref="ArgumentOutOfRangeException">Not a background of the palette.</exception>
    public static (byte R, byte G, byte B) Rgb(SpriteBackground background) => background switch
    {
        SpriteBackground.Black => (6, 6, 8),
        SpriteBackground.Gray => (100, 100, 104),
        SpriteBackground.Navy => (14, 22, 88),
        SpriteBackground.Brown => (104, 70, 34),
        SpriteBackground.Maroon => (92, 8, 38),
        SpriteBackground.Teal => (6, 84, 84),
        _ => throw new ArgumentOutOfRangeException(nameof(background), background, null),
    };
}
