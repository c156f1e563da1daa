namespace PyramidFlow.Training.Sprites;

/// <summary>What <see cref="SpriteJudge"/> found in a clip; an attribute that cannot be told is null.</summary>
public sealed record SpriteVerdict
{
    /// <summary>Size of the sprite, from its largest radius.</summary>
    public SpriteSize? Size { get; init; }

    /// <summary>Nearest palette colour of the sprite's core.</summary>
    public SpriteColour? Colour { get; init; }

    /// <summary>Shape whose template overlaps best.</summary>
    public SpriteShape? Shape { get; init; }

    /// <summary>What the sprite does; null for clips of fewer than 5 frames.</summary>
    public SpriteMotion? Motion { get; init; }

    /// <summary>Nearest palette colour of the background.</summary>
    public SpriteBackground? Background { get; init; }

    /// <summary>Share of the frames that show a sprite, 0..1.</summary>
    public double Presence { get; init; }

    /// <summary>Distance of the sprite's colour from the palette entry in RGB, 0..442.</summary>
    public double ColourDistance { get; init; }

    /// <summary>Mean soft intersection over union with the best template, 0..1.</summary>
    public double ShapeOverlap { get; init; }

    /// <summary>Whole radius of the sprite in pixels of a 128 pixel frame.</summary>
    public double Radius { get; init; }

    /// <summary>
    /// Way of the centroid to the right from the first frames to the last, pixels of a 128 pixel frame.
    /// </summary>
    public double TravelX { get; init; }

    /// <summary>Way of the centroid down from the first frames to the last, pixels of a 128 pixel frame.</summary>
    public double TravelY { get; init; }

    /// <summary>Radius in the last frames over radius in the first ones.</summary>
    public double Growth { get; init; } = 1;

    /// <summary>All five attributes, or null where one is missing.</summary>
    public SpriteAttributes? Attributes =>
        this is { Size: { } size, Colour: { } colour, Shape: { } shape, Motion: { } motion, Background: { } background }
            ? new SpriteAttributes(size, colour, shape, motion, background)
            : null;
}
