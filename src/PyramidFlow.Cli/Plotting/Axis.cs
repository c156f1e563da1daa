using System.Globalization;

namespace PyramidFlow.Cli.Plotting;

/// <summary>Brings values of one direction of a plot to 0..1.</summary>
internal sealed class Axis
{
    private const int FewestTicks = 3, MostTicks = 8;

    private readonly double low, high, leastStep;
    private readonly bool logarithmic;
    private readonly Func<double, string> text;

    /// <summary>Spans the values.</summary>
    /// <param name="values">At least one; positive where logarithmic.</param>
    /// <param name="logarithmic">Whether equal ratios are equal lengths.</param>
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

    /// <summary>Where a value lies, 0 to 1.</summary>
    public double At(double value) => (Bend(value) - low) / (high - low);

    /// <summary>Round values within, with their texts.</summary>
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
