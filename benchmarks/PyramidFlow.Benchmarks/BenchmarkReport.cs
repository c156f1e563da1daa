using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace PyramidFlow.Benchmarks;

/// <summary>All measurements of one run, and ways to print them.</summary>
/// <param name="Device">Where it was measured.</param>
/// <param name="Threads">Threads an operator could use.</param>
/// <param name="Libtorch">Version of libtorch.</param>
/// <param name="Runs">Runs behind each row's median.</param>
/// <param name="Rates">Speed of single operations.</param>
/// <param name="Rows">The measurements.</param>
public sealed record BenchmarkReport(string Device, int Threads, string Libtorch, int Runs, MachineRates Rates, IReadOnlyList<BenchmarkRow> Rows)
{
    /// <summary>Day of the measurement, YYYY-MM-DD.</summary>
    public string Date { get; init; } = DateTime.UtcNow.ToString(BenchmarkHistory.DateFormat, CultureInfo.InvariantCulture);

    /// <summary>Commit that was last when this was built, or empty.</summary>
    public string Commit { get; init; } = typeof(BenchmarkReport).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()
        ?.InformationalVersion.Split('+') is [_, var commit] ? commit : "";

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
