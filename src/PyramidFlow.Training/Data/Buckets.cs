using System.Globalization;
using PyramidFlow.Generation;

namespace PyramidFlow.Training.Data;

/// <summary>Which size and length an item is cut to.</summary>
public sealed class Buckets
{
    private readonly (int Width, int Height)[] sizes;
    private readonly int[] lengths;

    /// <summary>Any of the sizes with any of the lengths.</summary>
    /// <param name="sizes">Such as <c>640x384</c>: width x height in pixels, multiples of 8.</param>
    /// <param name="lengths">Frames, each 1 + a multiple of 8; images always have 1.</param>
    /// <exception cref="DataException">A size or length is impossible, or there is none.</exception>
    public Buckets(IReadOnlyList<string> sizes, IReadOnlyList<int> lengths)
    {
        this.sizes = [.. sizes.Select(Size)];
        if (this.sizes.Length == 0)
            throw new DataException("sizes is empty: give at least one, such as [\"640x384\"]");
        if (lengths.Count == 0)
            throw new DataException("frames is empty: give at least one length, such as [121]");
        if (lengths.FirstOrDefault(length => length < 1 || VideoLength.Fitting(length) != length) is not 0 and var wrong)
            throw new DataException($"a clip of {wrong} frames cannot be encoded: use {VideoLength.Fitting(Math.Max(1, wrong))} or {VideoLength.Fitting(Math.Max(1, wrong)) + VideoLength.Scale}");
        this.lengths = [.. lengths.Distinct().OrderDescending()];
    }

    /// <summary>The shortest clip.</summary>
    public int Shortest => lengths[^1];

    /// <summary>The bucket whose shape is nearest and whose length is the longest that fits.</summary>
    /// <param name="width">Pixels of the original.</param>
    /// <param name="height">Pixels of the original.</param>
    /// <param name="frames">Frames there are; null is an image.</param>
    /// <returns>Null when there are fewer frames than the shortest clip has.</returns>
    public Bucket? Nearest(int width, int height, int? frames)
    {
        var ratio = (double)width / height;
        var (w, h) = sizes.MinBy(size => Math.Abs(ratio - ((double)size.Width / size.Height)));
        var length = frames is null ? 1 : lengths.FirstOrDefault(length => length <= frames);
        return length == 0 ? null : new Bucket(w, h, length);
    }

    /// <summary>Whether a size is one of them.</summary>
    public bool HasSize(int width, int height) => sizes.Contains((width, height));

    /// <summary>A size as it is written, such as <c>640x384</c>.</summary>
    /// <param name="text">Width x height in pixels, multiples of 8.</param>
    /// <exception cref="DataException">It is none.</exception>
    public static (int Width, int Height) Size(string text)
    {
        if (text.ToLowerInvariant().Split('x') is not [var first, var second]
            || !int.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out var width)
            || !int.TryParse(second, NumberStyles.None, CultureInfo.InvariantCulture, out var height))
        {
            throw new DataException($"the size {text} is not width x height in pixels, such as 640x384");
        }

        return width >= VideoLength.Scale && height >= VideoLength.Scale && width % VideoLength.Scale == 0 && height % VideoLength.Scale == 0
            ? (width, height)
            : throw new DataException($"the size {text} is not made of multiples of {VideoLength.Scale}: use {Fit(width)}x{Fit(height)}");
    }

    private static int Fit(int pixels) => Math.Max(1, (int)Math.Round((double)pixels / VideoLength.Scale)) * VideoLength.Scale;
}

/// <summary>Items that can be in one batch: of one size and length. Latents too are told by the pixels they stand for.</summary>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Frames">Frames of the clip, 1 + a multiple of 8; 1 is an image.</param>
public readonly record struct Bucket(int Width, int Height, int Frames) : IComparable<Bucket>
{
    /// <summary>Whether it holds images.</summary>
    public bool IsImage => Frames == 1;

    /// <summary>By frames, then width, then height.</summary>
    public int CompareTo(Bucket other) => (Frames, Width, Height).CompareTo((other.Frames, other.Width, other.Height));

    /// <inheritdoc/>
    public override string ToString() => IsImage ? $"{Width}x{Height}" : $"{Width}x{Height}, {Frames} frames";
}
