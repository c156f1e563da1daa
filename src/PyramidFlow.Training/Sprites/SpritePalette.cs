namespace PyramidFlow.Training.Sprites;

/// <summary>The colours of the world, 8-bit RGB.</summary>
public static class SpritePalette
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
