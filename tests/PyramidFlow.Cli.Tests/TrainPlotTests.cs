using System.Globalization;
using System.Xml.Linq;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public sealed class TrainPlotTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public TrainPlotTests()
    {
        folder.Write("a/dit/metrics.jsonl", string.Concat(Enumerable.Range(1, 100).Select(i => Line(i, 1.0 / i))));
        folder.Write("b/dit/metrics.jsonl", string.Concat(Enumerable.Range(1, 10).Select(i => Line(10 * i, 2.0 / i))));
    }

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Every_loss_of_every_run_is_a_curve_with_its_name()
    {
        var svg = await Plot("--title", "a < b");
        Assert.Equal(4, Curves(svg).Count);
        Assert.All((string[])["a loss_0", "a loss_1", "b loss_0", "b loss_1", "a < b", "step", "20"], text => Assert.Contains(text, Texts(svg)));
    }

    [Fact]
    public async Task Logarithms_make_a_power_law_straight()
    {
        var curve = Curves(await Plot("--y", "loss_0", "--log", "xy", "--label", "one,two"))[0];
        var middle = curve.MinBy(p => Math.Abs(p.X - ((curve[0].X + curve[^1].X) / 2)));
        var share = (middle.X - curve[0].X) / (curve[^1].X - curve[0].X);
        Assert.InRange(Math.Abs(middle.Y - (curve[0].Y + (share * (curve[^1].Y - curve[0].Y)))), 0, 0.2);
        Assert.True(curve[^1].Y > curve[0].Y, "less is further down");
    }

    [Fact]
    public async Task Smoothing_joins_neighbours() =>
        Assert.Equal([10, 1], Curves(await Plot("--y", "loss_0", "--smooth", "10")).Select(curve => curve.Count));

    [Fact]
    public async Task Losses_of_held_out_items_are_curves_too_and_stay_as_measured()
    {
        folder.Write("c/dit/metrics.jsonl", string.Concat(Enumerable.Range(1, 100).Select(i => Line(i, 1.0 / i)))
            + string.Concat(Enumerable.Range(0, 5).Select(i => FormattableString.Invariant($"{{\"step\":{20 * i},\"held_out_loss\":{2.0 - (0.1 * i)}}}\n"))));
        Assert.Equal([5, 10, 10], Curves(await Read("--smooth", "10")).Select(curve => curve.Count));
        Assert.Equal([4, 100, 100], Curves(await Read("--log", "x")).Select(curve => curve.Count));

        async Task<XElement> Read(params string[] options)
        {
            var run = await CliRun.OfAsync(["train", "plot", folder.File("c", "dit", "metrics.jsonl"), "-o", folder.File("c.svg"), .. options]);
            Assert.True(run.Code == ExitCode.Ok, run.Error);
            return XElement.Parse(await File.ReadAllTextAsync(folder.File("c.svg"), TestContext.Current.CancellationToken));
        }
    }

    [Theory]
    [InlineData("no line with both", "--y", "nonsense")]
    [InlineData("logarithmic", "--y", "zero", "--log", "y")]
    [InlineData("--label", "--label", "one")]
    public async Task What_cannot_be_drawn_is_refused(string named, params string[] options) =>
        (await Run(options)).AssertRefused(named);

    private static string Line(int step, double loss) =>
        string.Create(CultureInfo.InvariantCulture, $"{{\"step\":{step},\"loss_0\":{loss},\"loss_1\":{2 * loss},\"zero\":0}}\n");

    private static List<List<(double X, double Y)>> Curves(XElement svg) => [.. svg.Descendants().Where(e => e.Name.LocalName == "polyline")
        .Select(line => line.Attribute("points")!.Value.Split(' ').Select(point => point.Split(','))
            .Select(p => (double.Parse(p[0], CultureInfo.InvariantCulture), double.Parse(p[1], CultureInfo.InvariantCulture))).ToList())];

    private static IEnumerable<string> Texts(XElement svg) => svg.Descendants().Where(e => e.Name.LocalName == "text").Select(e => e.Value);

    private Task<CliRun> Run(string[] options) => CliRun.OfAsync(
        ["train", "plot", folder.File("a", "dit", "metrics.jsonl"), folder.File("b", "dit", "metrics.jsonl"), "-o", folder.File("out.svg"), .. options]);

    private async Task<XElement> Plot(params string[] options)
    {
        var run = await Run(options);
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        return XElement.Parse(await File.ReadAllTextAsync(folder.File("out.svg"), TestContext.Current.CancellationToken));
    }
}
