using System.Globalization;
using System.Security;
using System.Text;

namespace PyramidFlow.Cli.Terminal;

/// <summary>Draws curves as an SVG picture.</summary>
/// <param name="Title">Title above the plot; may be empty.</param>
/// <param name="X">Label of the horizontal axis.</param>
/// <param name="Y">Label of the vertical axis.</param>
/// <param name="LogX">Whether the horizontal axis is logarithmic.</param>
/// <param name="LogY">Whether the vertical axis is logarithmic.</param>
internal sealed record LinePlot(string Title, string X, string Y, bool LogX, bool LogY)
{
    private const int Width = 800, Height = 480, Left = 70, Right = 20, Top = 40, Bottom = 50, FewPoints = 24;

    // The legend stands beside the picture, so that it hides no curve.
    private const int LegendLine = 18, LegendSample = 24, LetterWidth = 7;

    // Colours that differ in brightness too.
    private static readonly string[] Colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

    /// <summary>Whether the horizontal axis shows days (<see cref="DateOnly.DayNumber"/>).</summary>
    public bool DaysX { get; init; }

    /// <summary>Draws the plot as SVG text.</summary>
    /// <param name="curves">At least one point in all.</param>
    public string Draw(IReadOnlyList<Curve> curves)
    {
        var x = new Axis([.. curves.SelectMany(curve => curve.Points).Select(p => p.X)], LogX, DaysX);
        var y = new Axis([.. curves.SelectMany(curve => curve.Points).Select(p => p.Y)], LogY);
        var svg = new StringBuilder();
        var all = Width + LegendSample + (LetterWidth * curves.Max(curve => curve.Label.Length)) + Right;
        Add(svg, $"""<svg xmlns="http://www.w3.org/2000/svg" width="{all}" height="{Height}" viewBox="0 0 {all} {Height}" font-family="sans-serif" font-size="12">""");
        Add(svg, $"""<rect width="{all}" height="{Height}" fill="white"/>""");
        Text(svg, Width / 2, Top / 2, Title, "middle", """ font-size="15" """);
        foreach (var (value, text) in x.Ticks)
        {
            Line(svg, Across(x, value), Top, Across(x, value), Height - Bottom);
            Text(svg, Across(x, value), Height - Bottom + 18, text, "middle");
        }

        foreach (var (value, text) in y.Ticks)
        {
            Line(svg, Left, Up(y, value), Width - Right, Up(y, value));
            Text(svg, Left - 6, Up(y, value) + 4, text, "end");
        }

        Text(svg, (Left + Width - Right) / 2, Height - 12, X, "middle");
        Text(svg, 0, 0, Y, "middle", FormattableString.Invariant($""" transform="translate(18 {(Top + Height - Bottom) / 2}) rotate(-90)" """));
        foreach (var (i, curve) in curves.Index())
            Draw(svg, curve, i, x, y);
        return svg.Append("</svg>\n").ToString();
    }

    private static void Draw(StringBuilder svg, Curve curve, int number, Axis x, Axis y)
    {
        var colour = Colours[number % Colours.Length];
        var dashes = number < Colours.Length ? "" : $""" stroke-dasharray="{6 * (number / Colours.Length)} 3" """;
        var points = curve.Points.Select(p => (X: Across(x, p.X), Y: Up(y, p.Y))).ToList();
        var path = string.Join(' ', points.Select(p => FormattableString.Invariant($"{p.X:F1},{p.Y:F1}")));
        Add(svg, $"""<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dashes}/>""");
        foreach (var point in points.Take(points.Count <= FewPoints ? points.Count : 0))
            Add(svg, $"""<circle cx="{point.X:F1}" cy="{point.Y:F1}" r="3" fill="{colour}"/>""");
        var at = Top + 16 + (number * LegendLine);
        Add(svg, $"""<line x1="{Width}" y1="{at - 4}" x2="{Width + LegendSample - 6}" y2="{at - 4}" stroke="{colour}" stroke-width="2.5"{dashes}/>""");
        Text(svg, Width + LegendSample, at, curve.Label, "start");
    }

    private static double Across(Axis axis, double value) => Left + (axis.At(value) * (Width - Left - Right));

    private static double Up(Axis axis, double value) => Height - Bottom - (axis.At(value) * (Height - Top - Bottom));

    private static void Line(StringBuilder svg, double x1, double y1, double x2, double y2) =>
        Add(svg, $"""<line x1="{x1:F1}" y1="{y1:F1}" x2="{x2:F1}" y2="{y2:F1}" stroke="#dddddd"/>""");

    private static void Text(StringBuilder svg, double x, double y, string text, string anchor, string more = " ") =>
        Add(svg, $"""<text x="{x:F1}" y="{y:F1}" text-anchor="{anchor}"{more}>{SecurityElement.Escape(text)}</text>""");

    private static void Add(StringBuilder svg, FormattableString line) => svg.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
}

/// <summary>One line of a plot.</summary>
/// <param name="Label">Label in the legend.</param>
/// <param name="Points">From left to right.</param>
internal sealed record Curve(string Label, IReadOnlyList<(double X, double Y)> Points)
{
    /// <summary>Means of neighbouring points.</summary>
    /// <param name="count">Number of points that are averaged into one; 1 changes nothing.</param>
    public Curve Smoothed(int count) => count <= 1 ? this
        : this with { Points = [.. Points.Chunk(count).Select(some => (some.Average(p => p.X), some.Average(p => p.Y)))] };
}

/// <summary>An axis of a plot: maps values to 0..1.</summary>
internal sealed class Axis
{
    private const int FewestTicks = 3, MostTicks = 8;

    private readonly double low, high, leastStep;
    private readonly bool logarithmic;
    private readonly Func<double, string> text;

    /// <summary>Spans the values.</summary>
    /// <param name="values">At least one; positive where logarithmic.</param>
    /// <param name="logarithmic">Whether the axis is logarithmic.</param>
    /// <param name="areDays">Whether they are days, those of <see cref="DateOnly.DayNumber"/>.</param>
    public Axis(IReadOnlyCollection<double> values, bool logarithmic, bool areDays = false)
    {
        this.logarithmic = logarithmic;
        leastStep = areDays ? 1 : 0;
        text = areDays ? Day : value => value.ToString("G4", CultureInfo.InvariantCulture);
        (low, high) = (Bend(values.Min()), Bend(values.Max()));
        var margin = high > low ? 0.03 * (high - low) : 1;
        (low, high) = (low - margin, high + margin);
    }

    /// <summary>The position of a value, 0 to 1.</summary>
    public double At(double value) => (Bend(value) - low) / (high - low);

    /// <summary>Round values within the axis, with their labels.</summary>
    public IReadOnlyList<(double Value, string Text)> Ticks =>
        [.. (logarithmic ? Ratios() : Steps()).Select(value => (value, text(value)))];

    private double Bend(double value) => logarithmic ? Math.Log10(value) : value;

    // As many digits of every power of ten as there is room for.
    private List<double> Ratios()
    {
        foreach (var digits in (double[][])[[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5]])
        {
            if (Within(digits) is { Count: <= MostTicks } ticks)
                return ticks;
        }

        return Within([1]);

        List<double> Within(double[] digits) =>
            [.. Enumerable.Range((int)Math.Floor(low), (int)Math.Ceiling(high) - (int)Math.Floor(low) + 1)
                .SelectMany(power => digits.Select(digit => digit * Math.Pow(10, power))).Where(Inside)];
    }

    private List<double> Steps()
    {
        var step = Math.Max(leastStep, Math.Pow(10, Math.Floor(Math.Log10((high - low) / FewestTicks))));
        foreach (var wider in (double[])[1, 2, 5, 10])
        {
            if ((high - low) / (step * wider) <= MostTicks)
            {
                step *= wider;
                break;
            }
        }

        var first = (long)Math.Ceiling(low / step);
        return [.. Enumerable.Range(0, (int)((high / step) - first) + 1).Select(i => (first + i) * step).Where(Inside)];
    }

    private static string Day(double number) => DateOnly.FromDayNumber((int)number).ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);

    private bool Inside(double value) => At(value) is >= 0 and <= 1;
}
