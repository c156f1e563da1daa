using System.Globalization;
using PyramidFlow.Generation;

namespace PyramidFlow.Training.Data;

/// <summary>Selects the size and length that an item is cropped to.</summary>
internal sealed class Buckets
{
    private readonly (int Width, int Height)[] sizes;
    private readonly int[] lengths;

    /// <summary>Creates the buckets: every size combined with every length.</summary>
    /// <param name="sizes">Such as <c>640x384</c>: width x height in pixels, multiples of 8.</param>
    /// <param name="lengths">Frames, each 1 + a multiple of 8; images always have 1.</param>
    /// <exception cref="TrainingException">A size or length is invalid, or the list is empty.</exception>
    public Buckets(IReadOnlyList<string> sizes, IReadOnlyList<int> lengths)
    {
        this.sizes = [.. sizes.Select(Size)];
        if (this.sizes.Length == 0)
            throw TrainingFault.SizesEmpty();
        if (lengths.Count == 0)
            throw TrainingFault.LengthsEmpty();
        if (lengths.FirstOrDefault(length => length < 1 || VideoLength.Fitting(length) != length) is not 0 and var wrong)
            throw TrainingFault.ClipNotWhole(wrong, VideoLength.Fitting(Math.Max(1, wrong)), VideoLength.Fitting(Math.Max(1, wrong)) + VideoLength.Scale);
        this.lengths = [.. lengths.Distinct().OrderDescending()];
    }

    /// <summary>Length of the shortest clip in frames.</summary>
    public int Shortest => lengths[^1];

    /// <summary>Selects the bucket with the nearest aspect ratio and the longest length that fits.</summary>
    /// <param name="width">Width of the original in pixels.</param>
    /// <param name="height">Height of the original in pixels.</param>
    /// <param name="frames">Available frames; null is an image.</param>
    /// <returns>The bucket; null if there are fewer frames than the shortest clip has.</returns>
    public Bucket? Nearest(int width, int height, int? frames)
    {
        var ratio = (double)width / height;
        var (w, h) = sizes.MinBy(size => Math.Abs(ratio - ((double)size.Width / size.Height)));
        var length = frames is null ? 1 : lengths.FirstOrDefault(length => length <= frames);
        return length == 0 ? null : new Bucket(w, h, length);
    }

    /// <summary>Whether a size is one of the sizes.</summary>
    public bool HasSize(int width, int height) => sizes.Contains((width, height));

    /// <summary>Parses a size such as <c>640x384</c>.</summary>
    /// <param name="text">Width x height in pixels, multiples of 8.</param>
    /// <exception cref="TrainingException">The text is malformed or not a multiple of 8.</exception>
    public static (int Width, int Height) Size(string text)
    {
        if (text.ToLowerInvariant().Split('x') is not [var first, var second]
            || !int.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out var width)
            || !int.TryParse(second, NumberStyles.None, CultureInfo.InvariantCulture, out var height))
        {
            throw TrainingFault.SizeMalformed(text);
        }

        return width >= VideoLength.Scale && height >= VideoLength.Scale && width % VideoLength.Scale == 0 && height % VideoLength.Scale == 0
            ? (width, height)
            : throw TrainingFault.SizeNotMultiple(text, VideoLength.Scale, $"{Fit(width)}x{Fit(height)}");
    }

    private static int Fit(int pixels) => Math.Max(1, (int)Math.Round((double)pixels / VideoLength.Scale)) * VideoLength.Scale;
}

/// <summary>Size and length that all items of a batch share. Latents are described by the pixels that they encode.</summary>
/// <param name="Width">Width in pixels.</param>
/// <param name="Height">Height in pixels.</param>
/// <param name="Frames">Frames of a clip, 1 + a multiple of 8; 1 is an image.</param>
public readonly record struct Bucket(int Width, int Height, int Frames) : IComparable<Bucket>
{
    /// <summary>Whether the items are images.</summary>
    public bool IsImage => Frames == 1;

    /// <summary>Compares by frames, then width, then height.</summary>
    public int CompareTo(Bucket other) => (Frames, Width, Height).CompareTo((other.Frames, other.Width, other.Height));

    /// <inheritdoc/>
    public override string ToString() => IsImage ? $"{Width}x{Height}" : $"{Width}x{Height}, {Frames} frames";
}
