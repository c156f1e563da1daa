namespace PyramidFlow.Cli.Output;

/// <summary>Sizes as people say them.</summary>
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
