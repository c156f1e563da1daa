namespace PyramidFlow.Training.Sprites;

/// <summary>One clip before it is drawn: what is in it and where the sprite starts.</summary>
/// <param name="Attributes">What is to be seen.</param>
/// <param name="StartX">Centre of the sprite in frame 0, pixels from the left edge.</param>
/// <param name="StartY">Centre of the sprite in frame 0, pixels from the top edge.</param>
public readonly record struct SpriteScene(SpriteAttributes Attributes, float StartX, float StartY)
{
    /// <summary>
    /// Where the sprite is in a frame, and how large. Motion ends at the frame's edge, scaling after 32 frames.
    /// </summary>
    /// <param name="frame">Frame number, from 0; any length.</param>
    /// <returns>Centre and radius in pixels.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The frame is negative.</exception>
    public (float X, float Y, float Radius) At(int frame)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(frame);
        var full = SpriteWorld.Radius(Attributes.Size);
        var radius = full * SpriteWorld.Scale(Attributes.Motion, frame);
        var (left, top, right, bottom) = SpriteWorld.Room(Attributes.Shape, full);
        var way = SpriteWorld.PixelsPerFrame * frame;
        return Attributes.Motion switch
        {
            SpriteMotion.Left => (Math.Max(left, StartX - way), StartY, radius),
            SpriteMotion.Right => (Math.Min(right, StartX + way), StartY, radius),
            SpriteMotion.Up => (StartX, Math.Max(top, StartY - way), radius),
            SpriteMotion.Down => (StartX, Math.Min(bottom, StartY + way), radius),
            _ => (StartX, StartY, radius),
        };
    }
}
