namespace PyramidFlow.Training.Sprites;

/// <summary>Colour of a sprite; the values are in <see cref="SpritePalette"/>.</summary>
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
}
