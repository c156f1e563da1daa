namespace PyramidFlow.Benchmarks;

/// <summary>What the picture over time takes of a kept <see cref="BenchmarkReport"/>; older ones may lack all else.</summary>
/// <param name="Date">Day of the measurement, YYYY-MM-DD.</param>
/// <param name="Device">Where it was measured.</param>
/// <param name="Rows">The measurements.</param>
internal sealed record HistoryPoint(string? Date, string? Device, IReadOnlyList<HistoryRow>? Rows);

/// <summary>A row of it.</summary>
/// <param name="Kind">Line of the picture; null is in none.</param>
/// <param name="Dtype">fp32 or bf16.</param>
/// <param name="Share">Of the rate.</param>
internal sealed record HistoryRow(string? Kind, string? Dtype, double Share);
