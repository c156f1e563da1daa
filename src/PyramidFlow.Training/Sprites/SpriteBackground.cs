namespace PyramidFlow.Training.Sprites;

/// <summary>Colour behind a sprite: dark and muted, far from every sprite colour.</summary>
public enum SpriteBackground
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
