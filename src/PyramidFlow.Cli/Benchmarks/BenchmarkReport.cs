using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Benchmarks;

/// <summary>All measurements of one run, and ways to print them.</summary>
/// <param name="Device">Device of the measurement.</param>
/// <param name="Threads">Threads an operator could use.</param>
/// <param name="Libtorch">Version of libtorch.</param>
/// <param name="Runs">Runs behind each row's median.</param>
/// <param name="Rates">Speed of single operations.</param>
/// <param name="Rows">The measurements.</param>
internal sealed record BenchmarkReport(string Device, int Threads, string Libtorch, int Runs, MachineRates Rates, IReadOnlyList<BenchmarkRow> Rows)
{
    /// <summary>Day of the measurement, YYYY-MM-DD.</summary>
    public string Date { get; init; } = DateTime.UtcNow.ToString(BenchmarkHistory.DateFormat, CultureInfo.InvariantCulture);

    /// <summary>Commit that was last when this was built, or empty.</summary>
    public string Commit { get; init; } = TorchRuntime.ProgramVersion(typeof(BenchmarkReport).Assembly).Split('+') is [_, var commit] ? commit : "";

    /// <summary>Heads of the columns of <see cref="Cells"/>.</summary>
    [JsonIgnore]
    public IReadOnlyList<string> Columns => ["what", "stage", "unit", "dtype", "seconds", "TFLOP", "GFLOP/s", "share", "peak MB"];

    /// <summary>A row in the words of a table.</summary>
    public IReadOnlyList<string> Cells(BenchmarkRow row) =>
    [
        row.Name, row.Stage?.ToString(CultureInfo.InvariantCulture) ?? "-", row.Unit?.ToString(CultureInfo.InvariantCulture) ?? "-", row.Dtype,
        Number(row.Seconds, "0.000"), Number(row.Flops / 1e12, "0.000"), Number(row.Flops / row.Seconds / 1e9, "0"), Number(row.Share, "0%"),
        Number(row.PeakMb, "0"),
    ];

    /// <summary>The rates and what they were measured with, in a sentence.</summary>
    [JsonIgnore]
    public string RatesLine => string.Create(CultureInfo.InvariantCulture,
        $"{Device}, {Threads} threads, libtorch {Libtorch}, median of {Runs}; matrix products {Rates.GemmFp32:0} GFLOP/s in fp32, {Rates.GemmBf16:0} in bf16; convolution {Rates.ConvFp32:0} in fp32{(Rates.ConvBf16 is { } narrow ? $", {Number(narrow, "0")} in bf16" : "")}; copy {Rates.Copy:0.0} GB/s");

    /// <summary>One JSON object.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, BenchmarkJson.Default.BenchmarkReport);

    /// <summary>The rates as a sentence and the rows as a Markdown table.</summary>
    public string ToMarkdown()
    {
        var text = new StringBuilder();
        text.Append(RatesLine).Append(".\n\n");
        Line(Columns);
        Line(Columns.Select((_, i) => i is 0 or 3 ? "---" : "---:"));
        foreach (var row in Rows)
            Line(Cells(row));
        return text.ToString();

        void Line(IEnumerable<string> cells) => text.Append("| ").AppendJoin(" | ", cells).Append(" |\n");
    }

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}

/// <summary>Source-generated writing of reports.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(BenchmarkReport))]
[JsonSerializable(typeof(HistoryPoint))]
internal sealed partial class BenchmarkJson : JsonSerializerContext;

/// <summary>One measurement.</summary>
/// <param name="Name">Part that was measured, with its size.</param>
/// <param name="Stage">Stage of the spatial pyramid, 0 the lowest; null but for the transformer.</param>
/// <param name="Unit">Unit of the video, from 0; null but for the transformer.</param>
/// <param name="Dtype">fp32 or bf16.</param>
/// <param name="Seconds">Median wall-clock time.</param>
/// <param name="Flops">Operations of the matrix products and convolutions; see <see cref="DitFlops"/>, <see cref="TextFlops"/> and <see cref="VaeFlops"/>.</param>
/// <param name="Share">Speed over that of single operations in the same process: convolution for the VAE, matrix
/// products for all others.</param>
/// <param name="PeakMb">Most memory tensors held while it was measured, with the rows measured together with it, weights included, MB.</param>
/// <param name="Kind">Line of the picture over time that its share belongs to; null for parts of other rows and what is only compared with.</param>
/// <param name="Rate">GFLOP/s of single operations that the share is of: for the transformer those measured between its runs.</param>
internal sealed record BenchmarkRow(string Name, int? Stage, int? Unit, string Dtype, double Seconds, double Flops, double Share, double PeakMb, string? Kind = null,
    double? Rate = null);

/// <summary>One line of the picture over time.</summary>
/// <param name="Label">Kind of row, device and element type.</param>
/// <param name="Points">Days in rising order, and the median share of all rows of that day.</param>
internal sealed record HistorySeries(string Label, IReadOnlyList<(DateOnly Day, double Share)> Points);

/// <summary>Reports that were kept as JSON files (<see cref="BenchmarkReport.ToJson"/>) in a folder.</summary>
internal static class BenchmarkHistory
{
    internal const string DateFormat = "yyyy-MM-dd";

    /// <summary>How the shares went, a line for each kind of row, device and element type, by label.</summary>
    /// <param name="folder">The folder; what does not end in .json is left alone.</param>
    /// <exception cref="UsageException">The folder has no report, or a file is none.</exception>
    public static IReadOnlyList<HistorySeries> Read(string folder)
    {
        string[] files = Directory.Exists(folder) ? [.. Directory.GetFiles(folder, "*.json").Order(StringComparer.Ordinal)] : [];
        HistorySeries[] series = [.. files.SelectMany(Rows).GroupBy(row => row.Label).OrderBy(group => group.Key, StringComparer.Ordinal)
            .Select(group => new HistorySeries(group.Key, [.. group.GroupBy(row => row.Day).OrderBy(day => day.Key)
                .Select(day => (day.Key, Timing.Median(day.Select(row => row.Share))))]))];
        return series.Length > 0 ? series
            : throw CommandFault.NoReport(folder);
    }

    private static IEnumerable<(string Label, DateOnly Day, double Share)> Rows(string file)
    {
        var point = Parse(file);
        if (point is not { Device: { } device, Rows: { } rows } || !DateOnly.TryParseExact(point.Date, DateFormat, CultureInfo.InvariantCulture, DateTimeStyles.None, out var day))
            throw CommandFault.ReportIncomplete(file);
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
            throw CommandFault.ReportNotJson(file, e.Reason, e);
        }
    }
}

/// <summary>The part of a kept <see cref="BenchmarkReport"/> that the plot over time reads; older reports may lack the rest.</summary>
/// <param name="Date">Day of the measurement, YYYY-MM-DD.</param>
/// <param name="Device">Device of the measurement.</param>
/// <param name="Rows">The measurements.</param>
internal sealed record HistoryPoint(string? Date, string? Device, IReadOnlyList<HistoryRow>? Rows);

/// <summary>A row of it.</summary>
/// <param name="Kind">Line of the picture; null is in none.</param>
/// <param name="Dtype">fp32 or bf16.</param>
/// <param name="Share">Share of the rate, 0 to 1.</param>
internal sealed record HistoryRow(string? Kind, string? Dtype, double Share);
