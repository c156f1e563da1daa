namespace PyramidFlow.Training.Sprites;

/// <summary>What a sprite does. Every motion ends in rest, so that a clip can go on for any length.</summary>
public enum SpriteMotion
{
    /// <summary>Moves left to the edge of the frame.</summary>
    Left,

    /// <summary>Moves right to the edge of the frame.</summary>
    Right,

    /// <summary>Moves up to the edge of the frame.</summary>
    Up,

    /// <summary>Moves down to the edge of the frame.</summary>
    Down,

    /// <summary>Grows from half of its radius to the whole radius.</summary>
    Growing,

    /// <summary>Shrinks from its radius to half of it.</summary>
    Shrinking,

    /// <summary>Does not move.</summary>
    Still,
}
