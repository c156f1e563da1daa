using PyramidFlow.Media;

namespace PyramidFlow.Training.Loop;

/// <summary>Arranges frames of several clips in one picture.</summary>
internal static class ContactSheet
{
    private const byte GapValue = 200;
    private const int Columns = 8;

    /// <summary>Bytes of the pixels of a sheet, without its gaps.</summary>
    /// <param name="clips">Number of clips.</param>
    /// <param name="width">Width of a frame in pixels.</param>
    /// <param name="height">Height of a frame in pixels.</param>
    public static long Bytes(int clips, int width, int height) => 3L * clips * Columns * width * height;

    /// <summary>Composes a sheet: one row per clip, evenly sampled frames from the first to the last as columns.</summary>
    /// <param name="clips">Clips of interleaved RGB, [frames, height, width, 3]; lengths may differ.</param>
    /// <param name="width">Width of a frame in pixels.</param>
    /// <param name="height">Height of a frame in pixels.</param>
    /// <param name="columns">Frames per clip, at least 1; a shorter clip leaves cells empty.</param>
    /// <param name="gap">Width of the gaps between and around the cells, in pixels.</param>
    /// <returns>The sheet.</returns>
    /// <exception cref="ArgumentException">There is no clip, or a clip is not a whole number of frames.</exception>
    public static RgbImage Compose(
        IReadOnlyList<byte[]> clips, int width, int height, int columns = Columns, int gap = 2)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(height, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(gap);
        if (clips.Count == 0)
            throw new ArgumentException("a contact sheet needs at least one clip", nameof(clips));

        var sheetWidth = gap + columns * (width + gap);
        var sheetHeight = gap + clips.Count * (height + gap);
        var pixels = new byte[checked(sheetWidth * sheetHeight * 3)];
        pixels.AsSpan().Fill(GapValue);
        var frameBytes = width * height * 3;
        for (var row = 0; row < clips.Count; row++)
        {
            var (frames, rest) = Math.DivRem(clips[row].Length, frameBytes);
            if (frames == 0 || rest != 0)
            {
                throw new ArgumentException(
                    $"clip {row} has {clips[row].Length} bytes, not a whole number of {width}x{height} RGB frames " +
                    $"({frameBytes} bytes each)", nameof(clips));
            }

            var shown = Math.Min(columns, frames);
            for (var column = 0; column < shown; column++)
            {
                var frame = shown == 1 ? 0 : (column * (frames - 1) + (shown - 1) / 2) / (shown - 1);
                var source = clips[row].AsSpan(frame * frameBytes, frameBytes);
                for (var y = 0; y < height; y++)
                {
                    var to = ((gap + row * (height + gap) + y) * sheetWidth + gap + column * (width + gap)) * 3;
                    source.Slice(y * width * 3, width * 3).CopyTo(pixels.AsSpan(to));
                }
            }
        }

        return new RgbImage(sheetWidth, sheetHeight, pixels);
    }
}
