using System.Numerics;

namespace PyramidFlow.Training.Sprites;

/// <summary>Medians, which a few wrong pixels or frames do not move.</summary>
internal static class SpriteStatistics
{
    /// <summary>Median colour of a histogram of three times 256 bins.</summary>
    public static Vector3 Median(ReadOnlySpan<int> histogram) =>
        new(Channel(histogram[..256]), Channel(histogram[256..512]), Channel(histogram[512..]));

    /// <summary>Median of some numbers, at least one.</summary>
    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    private static int Channel(ReadOnlySpan<int> bins)
    {
        var total = 0L;
        foreach (var bin in bins)
            total += bin;
        var seen = 0L;
        for (var value = 0; value < bins.Length; value++)
        {
            seen += bins[value];
            if (2 * seen >= total)
                return value;
        }

        return bins.Length - 1;
    }
}
