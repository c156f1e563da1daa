using PyramidFlow.Testing;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

public sealed class MetricsFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Steps_come_in_order_and_what_was_said_last_counts()
    {
        var lines = Read("""
            {"step":20,"time":"2026-11-25","loss":3,"flops":5}
            {"step":40,"loss":2}
            {"step":20,"loss":1,"psnr":30}

            """);
        Assert.Equal([20, 40], lines.Select(line => line["step"]));
        Assert.Equal((1, 5, 30), (lines[0]["loss"], lines[0]["flops"], lines[0]["psnr"]));
        Assert.DoesNotContain("time", lines[0].Keys);
    }

    [Fact]
    public void A_line_that_is_being_written_is_left_out() =>
        Assert.Single(Read("{\"step\":20}\n{\"step\":4"));

    [Theory]
    [InlineData("{\"step\":20}\nnonsense\n", "metrics_malformed", 2)]
    [InlineData("[20]\n", "metrics_malformed", 1)]
    [InlineData("{\"loss\":20}\n", "metrics_without_step", 1)]
    [InlineData("{\"step\":20}\n{\"step\":40,\"\\ud800\":1}\n", "metrics_malformed", 2)]
    [InlineData("{\"step\":null}\n", "metrics_without_step", 1)]
    public void Another_file_is_refused(string text, string code, int line) =>
        FaultAssert.Has(Assert.Throws<TrainingException>(() => Read(text)), code, $"file={folder.File("m.jsonl")} line={line}");

    [Fact]
    public void A_file_that_is_not_there_is_named() =>
        FaultAssert.Is(Assert.Throws<TrainingException>(() => MetricsFile.Read(folder.File("none.jsonl"))), "metrics_missing", ("file", folder.File("none.jsonl")));

    [Fact]
    public void Numbers_that_are_not_finite_are_left_out() =>
        Assert.Equal(["step"], Assert.Single(Read("{\"step\":20.0,\"loss\":NaN,\"norm\":null,\"large\":1e999}\n")).Keys);

    [Theory]
    [InlineData("{\"step\":30}\n", 1)]
    [InlineData("{\"step\":\"x\"}\n{}\n[1]\n5\n{\"step\":1e30}\n{\"step\":3", 1)]
    [InlineData("{\"step\":20.0,\"a\":NaN}\n", 2)]
    public void A_run_that_goes_on_drops_later_and_damaged_lines_only(string more, int kept)
    {
        folder.Write("m.jsonl", "{\"step\":10,\"loss\":1}\n" + more);
        _ = new MetricsFile(folder.File("m.jsonl"), from: 20);
        Assert.Equal(kept, File.ReadAllLines(folder.File("m.jsonl")).Length);
    }

    private IReadOnlyList<IReadOnlyDictionary<string, double>> Read(string text)
    {
        folder.Write("m.jsonl", text);
        return MetricsFile.Read(folder.File("m.jsonl"));
    }
}
