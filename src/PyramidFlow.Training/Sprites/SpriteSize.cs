namespace PyramidFlow.Training.Sprites;

/// <summary>Size of a sprite: the largest radius it has in its clip.</summary>
public enum SpriteSize
{
    /// <summary>Radius 18 pixels.</summary>
    Small,

    /// <summary>Radius 30 pixels.</summary>
    Large,
}
