namespace PyramidFlow.Training.Sprites;

/// <summary>Draws scenes: anti-aliased by distance to the outline, computing only the sprite's bounding box.</summary>
public static class SpriteRenderer
{
    /// <summary>Draws the first frames of a scene.</summary>
    /// <param name="scene">The scene.</param>
    /// <param name="frameCount">Number of frames, at least 1; the models take 1 + 8n.</param>
    /// <returns>Interleaved RGB, [frames, 128, 128, 3].</returns>
    /// <exception cref="ArgumentOutOfRangeException">The frame count is less than 1.</exception>
    public static byte[] Render(SpriteScene scene, int frameCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(frameCount, 1);
        var clip = GC.AllocateUninitializedArray<byte>(checked(frameCount * SpriteWorld.FrameBytes));
        var first = clip.AsSpan(0, SpriteWorld.FrameBytes);
        FillBackground(scene, first);
        for (var t = 1; t < frameCount; t++)
            first.CopyTo(clip.AsSpan(t * SpriteWorld.FrameBytes));
        for (var t = 0; t < frameCount; t++)
            DrawSprite(scene, t, clip.AsSpan(t * SpriteWorld.FrameBytes, SpriteWorld.FrameBytes));
        return clip;
    }

    /// <summary>Draws one frame of a scene.</summary>
    /// <param name="scene">The scene.</param>
    /// <param name="frame">Frame number, from 0.</param>
    /// <param name="target">Receives interleaved RGB, [128, 128, 3].</param>
    /// <exception cref="ArgumentException">The target is not 49152 bytes.</exception>
    public static void RenderFrame(SpriteScene scene, int frame, Span<byte> target)
    {
        if (target.Length != SpriteWorld.FrameBytes)
        {
            throw new ArgumentException(
                $"a sprite frame takes {SpriteWorld.FrameBytes} bytes (128 x 128 x 3), the target has {target.Length}",
                nameof(target));
        }

        FillBackground(scene, target);
        DrawSprite(scene, frame, target);
    }

    private static void FillBackground(SpriteScene scene, Span<byte> frame)
    {
        var (r, g, b) = SpritePalette.Rgb(scene.Attributes.Background);
        (frame[0], frame[1], frame[2]) = (r, g, b);
        for (var filled = 3; filled < frame.Length; filled *= 2)
            frame[..Math.Min(filled, frame.Length - filled)].CopyTo(frame[filled..]);
    }

    private static void DrawSprite(SpriteScene scene, int frame, Span<byte> target)
    {
        var shape = scene.Attributes.Shape;
        var (r1, g1, b1) = SpritePalette.Rgb(scene.Attributes.Colour);
        var (r0, g0, b0) = SpritePalette.Rgb(scene.Attributes.Background);
        var (cx, cy, radius) = scene.At(frame);
        var (left, top, right, bottom) = SpriteGeometry.Extent(shape);
        var (x0, x1) = Pixels(cx - left * radius, cx + right * radius, SpriteWorld.Width);
        var (y0, y1) = Pixels(cy - top * radius, cy + bottom * radius, SpriteWorld.Height);
        for (var y = y0; y < y1; y++)
        {
            var row = target.Slice(y * SpriteWorld.Width * 3, SpriteWorld.Width * 3);
            for (var x = x0; x < x1; x++)
            {
                var a = SpriteGeometry.Coverage(shape, x + 0.5f - cx, y + 0.5f - cy, radius);
                if (a == 0)
                    continue;
                row[x * 3] = Blend(r0, r1, a);
                row[x * 3 + 1] = Blend(g0, g1, a);
                row[x * 3 + 2] = Blend(b0, b1, a);
            }
        }
    }

    private static (int First, int End) Pixels(float low, float high, int size) =>
        (Math.Max(0, (int)(low - 0.5f)), Math.Min(size, (int)(high + 1.5f)));

    private static byte Blend(byte under, byte over, float share) => (byte)(under + (over - under) * share + 0.5f);
}
