namespace PyramidFlow.Training.Sprites;

/// <summary>
/// Colour of a sprite; the values are in <see cref="SpritePalette"/>. Scenes draw the first <see cref="SpriteAttributes.Colours"/> of
/// them; the last is kept to be taught later.
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

    /// <summary>Pink, which no scene has unless <see cref="SpriteExtraColour"/> paints it.</summary>
    Pink,
}
