using System.Globalization;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Benchmarks;

/// <summary>One line of the picture over time.</summary>
/// <param name="Label">Kind of row, device and element type.</param>
/// <param name="Points">Days in rising order, and the median share of all rows of that day.</param>
public sealed record HistorySeries(string Label, IReadOnlyList<(DateOnly Day, double Share)> Points);

/// <summary>Reports that were kept as JSON files (<see cref="BenchmarkReport.ToJson"/>) in a folder.</summary>
public static class BenchmarkHistory
{
    internal const string DateFormat = "yyyy-MM-dd";

    /// <summary>How the shares went, a line for each kind of row, device and element type, by label.</summary>
    /// <param name="folder">The folder; what does not end in .json is left alone.</param>
    /// <exception cref="ArgumentException">The folder has no report, or a file is none.</exception>
    public static IReadOnlyList<HistorySeries> Read(string folder)
    {
        string[] files = Directory.Exists(folder) ? [.. Directory.GetFiles(folder, "*.json").Order(StringComparer.Ordinal)] : [];
        HistorySeries[] series = [.. files.SelectMany(Rows).GroupBy(row => row.Label).OrderBy(group => group.Key, StringComparer.Ordinal)
            .Select(group => new HistorySeries(group.Key, [.. group.GroupBy(row => row.Day).OrderBy(day => day.Key)
                .Select(day => (day.Key, Timing.Median(day.Select(row => row.Share))))]))];
        return series.Length > 0 ? series
            : throw new ArgumentException($"{folder} has no report to draw: keep what bench prints with --json in it, in files that end in .json");
    }

    private static IEnumerable<(string Label, DateOnly Day, double Share)> Rows(string file)
    {
        var point = Parse(file);
        if (point is not { Device: { } device, Rows: { } rows } || !DateOnly.TryParseExact(point.Date, DateFormat, CultureInfo.InvariantCulture, DateTimeStyles.None, out var day))
            throw new ArgumentException($"{file} lacks date (as 2026-01-31), device or rows: keep what bench prints with --json");
        return rows.Where(row => row.Kind is not null).Select(row => ($"{row.Kind}, {device.Split(':')[0]} {row.Dtype}", day, row.Share));
    }

    private static HistoryPoint Parse(string file)
    {
        try
        {
            return StrictJson.Deserialize(StrictText.ReadBytes(file), BenchmarkJson.Default.HistoryPoint);
        }
        catch (MalformedTextException e)
        {
            throw new ArgumentException($"{file} is not JSON as bench prints it ({e.Reason}): measure again with --json", e);
        }
    }
}
