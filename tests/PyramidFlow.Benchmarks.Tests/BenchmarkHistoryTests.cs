using PyramidFlow.Cli.Benchmarks;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Testing;

namespace PyramidFlow.Benchmarks.Tests;

public sealed class BenchmarkHistoryTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_day_is_the_median_of_its_rows_of_a_kind()
    {
        folder.Write("b.json", Report("2026-01-02", "cpu", Row("step", "fp32", 0.5)).ToJson());
        folder.Write("a.json", Report("2026-01-31", "cpu", Row("step", "fp32", 0.6), Row("step", "fp32", 0.9), Row(null, "fp32", 0.1), Row("step", "bf16", 0.3)).ToJson());
        folder.Write("c.json", Report("2026-01-31", "cpu", Row("step", "fp32", 0.7)).ToJson());
        folder.Write("d.json", Report("2026-01-31", "cuda:0", Row("step", "bf16", 0.2)).ToJson());
        folder.Write("notes.txt", "no report");

        var series = BenchmarkHistory.Read(folder.Path);

        Assert.Equal(["step, cpu bf16", "step, cpu fp32", "step, cuda bf16"], series.Select(line => line.Label));
        Assert.Equal([(new DateOnly(2026, 1, 2), 0.5), (new DateOnly(2026, 1, 31), 0.7)], series[1].Points);
    }

    // Written by hand for measurements from before reports were kept.
    [Fact]
    public void A_file_needs_no_more_than_is_drawn()
    {
        folder.Write("old.json", """{"date":"2025-12-31","device":"cpu","rows":[{"kind":"step","dtype":"fp32","share":0.25}]}""");

        Assert.Equal((new DateOnly(2025, 12, 31), 0.25), Assert.Single(Assert.Single(BenchmarkHistory.Read(folder.Path)).Points));
    }

    [Theory]
    [InlineData("{}", "report_incomplete")]
    [InlineData("""{"date":"31.1.2026","device":"cpu","rows":[]}""", "report_incomplete")]
    [InlineData("nonsense", "report_not_json")]
    [InlineData("""{"date":"2026-01-31","device":"cpu","rows":[null]}""", "report_not_json", "rows[0] is null")]
    [InlineData("""{"date":"2026-01-31","device":"cut \ud83d","rows":[]}""", "report_not_json", "half of a character")]
    [InlineData("""{"date":"2026-01-31","device":"cpu","rows":[{"share":"1,5"}]}""", "report_not_json", "rows[0].share cannot be \"1,5\": it is a number")]
    public void What_is_no_report_is_refused(string text, string code, string reason = "")
    {
        folder.Write("bad.json", text);
        var error = Assert.Throws<UsageException>(() => BenchmarkHistory.Read(folder.Path));
        FaultAssert.Is(error, code, ("file", folder.File("bad.json")));
        Assert.Contains(reason, error.Parameters.GetValueOrDefault("reason") as string ?? "", StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_without_rows_is_refused()
    {
        folder.Write("empty.json", """{"date":"2026-01-31","device":"cpu","rows":[]}""");
        FaultAssert.Is(Assert.Throws<UsageException>(() => BenchmarkHistory.Read(folder.Path)), "no_report", ("folder", folder.Path));
    }

    [Fact]
    public void A_folder_that_is_not_there_is_refused() =>
        FaultAssert.Is(Assert.Throws<UsageException>(() => BenchmarkHistory.Read(folder.File("none"))), "no_report", ("folder", folder.File("none")));

    private static BenchmarkRow Row(string? kind, string dtype, double share) => new("a row", null, null, dtype, 1, 1, share, 1, kind);

    private static BenchmarkReport Report(string date, string device, params BenchmarkRow[] rows) =>
        new(device, 2, "1.13.1", 1, new MachineRates(1, 1, 1, null, 1), rows) { Date = date };
}
