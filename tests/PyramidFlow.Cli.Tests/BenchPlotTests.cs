using System.Xml.Linq;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public sealed class BenchPlotTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Shares_of_kept_reports_are_lines_over_days()
    {
        Write("one.json", "2026-01-30", 0.5);
        Write("two.json", "2026-02-02", 0.75);

        var svg = await Plot();

        Assert.All((string[])["step, cpu fp32", "2026-01-31", "2026-02-01", "% of the rate", "70"], text => Assert.Contains(text, Texts(svg)));
        Assert.Equal(2, Assert.Single(svg.Descendants(), e => e.Name.LocalName == "polyline").Attribute("points")!.Value.Split(' ').Length);
    }

    [Fact]
    public async Task A_single_day_is_named_once()
    {
        Write("one.json", "2026-01-30", 0.5);
        Assert.Single(Texts(await Plot()), "2026-01-30");
    }

    [Fact]
    public async Task More_lines_than_colours_differ_in_their_dashes()
    {
        var rows = string.Join(',', Enumerable.Range(0, 9).Select(i => $"{{\"kind\":\"{i}\",\"dtype\":\"fp32\",\"share\":0.{i + 1}}}"));
        folder.Write("one.json", $"{{\"date\":\"2026-01-30\",\"device\":\"cpu\",\"rows\":[{rows}]}}");

        var lines = (await Plot()).Descendants().Where(e => e.Name.LocalName == "polyline").ToList();

        Assert.Equal(9, lines.Select(line => (line.Attribute("stroke")!.Value, line.Attribute("stroke-dasharray")?.Value)).Distinct().Count());
    }

    [Fact]
    public async Task An_empty_folder_is_refused() =>
        (await CliRun.OfAsync("bench", "plot", folder.Path, "-o", folder.File("out.svg"))).AssertRefused("has no report to draw");

    private static IEnumerable<string> Texts(XElement svg) => svg.Descendants().Where(e => e.Name.LocalName == "text").Select(e => e.Value);

    private void Write(string name, string date, double share) => folder.Write(name, FormattableString.Invariant(
        $$"""{"date":"{{date}}","device":"cpu","rows":[{"kind":"step","dtype":"fp32","share":{{share}}}]}"""));

    private async Task<XElement> Plot()
    {
        var run = await CliRun.OfAsync("bench", "plot", folder.Path, "-o", folder.File("out.svg"));
        Assert.Equal((ExitCode.Ok, ""), (run.Code, run.Error));
        return XElement.Load(folder.File("out.svg"));
    }
}
