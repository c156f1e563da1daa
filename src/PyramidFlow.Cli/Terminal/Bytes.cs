namespace PyramidFlow.Cli.Terminal;

/// <summary>Formats sizes in bytes.</summary>
internal static class Bytes
{
    /// <summary>Such as <c>812 B</c>, <c>3.4 MB</c> or <c>9.5 GB</c>.</summary>
    public static string Text(double bytes) => bytes switch
    {
        < 1e3 => FormattableString.Invariant($"{bytes:F0} B"),
        < 1e6 => FormattableString.Invariant($"{bytes / 1e3:F0} kB"),
        < 1e9 => FormattableString.Invariant($"{bytes / 1e6:F1} MB"),
        _ => FormattableString.Invariant($"{bytes / 1e9:F1} GB"),
    };
}

/// <summary>Formats durations.</summary>
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
