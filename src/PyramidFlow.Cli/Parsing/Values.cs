using PyramidFlow.Generation;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Parsing;

/// <summary>Values as people write them, on a command line or in a file; what is wrong is said as "use ...".</summary>
internal static class Values
{
    /// <exception cref="FormatException">It is none of the choices.</exception>
    public static string Choice(string text, params string[] choices) => choices.Contains(text)
        ? text
        : throw new FormatException($"use {string.Join(", ", choices)}");

    /// <exception cref="FormatException">It is no whole number or too small.</exception>
    public static int Whole(string text, int least, string more = "") => SettingsTable.Whole(text, least, more);

    /// <param name="text">What was written.</param>
    /// <param name="zero">Whether 0 is allowed.</param>
    /// <exception cref="FormatException">It is no number, or negative.</exception>
    public static double Number(string text, bool zero) =>
        PlainNumber.TryReal(text, out var value) && (zero ? value >= 0 : value > 0)
            ? value
            : throw new FormatException(Advice(text) ?? (zero ? "use 0 (off) or a positive number" : "use a positive number"));

    /// <summary>Bytes of such as <c>8GB</c>, <c>7.5 GB</c> or <c>800MB</c>; a GB is 10^9 bytes, a GiB 2^30.</summary>
    /// <exception cref="FormatException">It is no positive amount with a unit.</exception>
    public static long Bytes(string text)
    {
        var unit = text.TrimStart([.. "0123456789., "]).ToLowerInvariant();
        var factor = unit switch { "mb" or "m" => 1e6, "gb" or "g" => 1e9, "mib" => 1 << 20, "gib" => 1 << 30, _ => 0 };
        var amount = text[..^unit.Length];
        return PlainNumber.TryReal(amount, out var count) && count * factor is >= 1 and < 1e18
            ? (long)(count * factor)
            : throw new FormatException(Advice(amount) ?? "use an amount with MB or GB, such as 8GB");
    }

    /// <exception cref="FormatException">It is no whole number from 0.</exception>
    public static ulong Seed(string text) => PlainNumber.TryUnsigned(text, out var value)
        ? value
        : throw new FormatException("use a whole number from 0");

    /// <exception cref="FormatException">Some part is no whole number from 1.</exception>
    public static IReadOnlyList<int> Steps(string text) => (IReadOnlyList<int>)SettingsTable.Find("steps")!.Type.Parse(text)!;

    /// <exception cref="FormatException">Some part is not such as 640x384.</exception>
    public static IReadOnlyList<string> Sizes(string text) =>
        [.. text.Split(',').Select(part => $"{FrameSize.Parse(part.Trim())}")];

    /// <exception cref="FormatException">Some part is no whole number from 1.</exception>
    public static IReadOnlyList<int> Lengths(string text) => [.. text.Split(',').Select(part => Whole(part.Trim(), 1, ", such as 49,121"))];

    /// <exception cref="FormatException">It is not such as 2/4.</exception>
    public static (int Part, int Parts) Part(string text) =>
        text.Split('/') is [var part, var parts] && Whole(part, 1, " to the number of parts, such as 2/4") is var i && Whole(parts, 1, " for the number of parts") is var n && i <= n
            ? (i, n)
            : throw new FormatException("use the part and the number of parts, such as 2/4");

    /// <summary>How to write a number instead of one with a comma; null where no comma is the fault.</summary>
    public static string? Advice(string text) => PlainNumber.Advice(text) is { Length: > 0 } advice ? advice : null;
}
