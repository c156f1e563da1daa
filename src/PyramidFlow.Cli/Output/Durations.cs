namespace PyramidFlow.Cli.Output;

/// <summary>Times as people say them.</summary>
internal static class Durations
{
    /// <summary>Such as <c>4.2 s</c>, <c>3 min 20 s</c> or <c>2 h 5 min</c>.</summary>
    public static string Text(TimeSpan time) => time.TotalSeconds switch
    {
        < 10 => FormattableString.Invariant($"{time.TotalSeconds:F1} s"),
        < 60 => FormattableString.Invariant($"{time.TotalSeconds:F0} s"),
        < 3600 => $"{time.Minutes} min {time.Seconds} s",
        _ => $"{(int)time.TotalHours} h {time.Minutes} min",
    };
}
