namespace PyramidFlow.Cli.Plotting;

/// <summary>One line of a plot.</summary>
/// <param name="Label">What the legend calls it.</param>
/// <param name="Points">From left to right.</param>
internal sealed record Curve(string Label, IReadOnlyList<(double X, double Y)> Points)
{
    /// <summary>Means of neighbouring points.</summary>
    /// <param name="count">How many become one; 1 changes nothing.</param>
    public Curve Smoothed(int count) => count <= 1 ? this
        : this with { Points = [.. Points.Chunk(count).Select(some => (some.Average(p => p.X), some.Average(p => p.Y)))] };
}
