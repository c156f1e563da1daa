namespace PyramidFlow.Training.Sprites;

/// <summary>One RGB picture.</summary>
/// <param name="Pixels">Interleaved RGB, [height, width, 3].</param>
/// <param name="Width">Width in pixels.</param>
/// <param name="Height">Height in pixels.</param>
public sealed record SpriteSheet(byte[] Pixels, int Width, int Height);
