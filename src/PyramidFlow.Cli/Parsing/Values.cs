using PyramidFlow.Scheduling.Solvers;
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
    public static int Whole(string text, int least, string more = "") =>
        PlainNumber.TryWhole(text, out var value) && value >= least && value <= int.MaxValue
            ? (int)value
            : throw new FormatException($"use a whole number from {least}{more}{(text.Contains(',', StringComparison.Ordinal) ? ", without a comma" : "")}");

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

    /// <exception cref="FormatException">There is no such solver.</exception>
    public static IFlowSolver Solver(string text) => FlowSolvers.Get(Choice(text, [.. FlowSolvers.Names]));

    /// <exception cref="FormatException">It is no whole number from 0.</exception>
    public static ulong Seed(string text) => PlainNumber.TryUnsigned(text, out var value)
        ? value
        : throw new FormatException("use a whole number from 0");

    /// <summary>A seed, or any: -1.</summary>
    /// <exception cref="FormatException">It is neither.</exception>
    public static SeedChoice SeedOrAny(string text) => PlainNumber.TryWhole(text, out var value) && value == -1 ? new SeedChoice(null)
        : PlainNumber.TryUnsigned(text, out var seed) ? new SeedChoice(seed)
        : throw new FormatException("use a whole number from 0, or -1 for any");

    /// <exception cref="FormatException">Some part is no whole number from 1.</exception>
    public static IReadOnlyList<int> Steps(string text) =>
        [.. text.Split(',').Select(part => Whole(part.Trim(), 1, ", one for each stage, such as 20,20,20"))];

    /// <exception cref="FormatException">It is not such as 640x384.</exception>
    public static FrameSize Size(string text) => text.ToLowerInvariant().Split('x') is [var width, var height]
        ? new FrameSize(Whole(width, 1, " for the width"), Whole(height, 1, " for the height"))
        : throw new FormatException("use width x height in pixels, such as 640x384");

    /// <exception cref="FormatException">Some part is not such as 640x384.</exception>
    public static IReadOnlyList<string> Sizes(string text) =>
        [.. text.Split(',').Select(part => Size(part.Trim())).Select(size => $"{size.Width}x{size.Height}")];

    /// <exception cref="FormatException">Some part is no whole number from 1.</exception>
    public static IReadOnlyList<int> Lengths(string text) => [.. text.Split(',').Select(part => Whole(part.Trim(), 1, ", such as 49,121"))];

    /// <exception cref="FormatException">It is not such as 2/4.</exception>
    public static (int Part, int Parts) Part(string text) =>
        text.Split('/') is [var part, var parts] && Whole(part, 1, " to the number of parts, such as 2/4") is var i && Whole(parts, 1, " for the number of parts") is var n && i <= n
            ? (i, n)
            : throw new FormatException("use the part and the number of parts, such as 2/4");

    /// <exception cref="FormatException">It is not two numbers from 0.</exception>
    public static (double Alpha, double Minimum) LinearGuidance(string text)
    {
        return text.Split(',') is [var alpha, var minimum] ? (Part(alpha), Part(minimum)) : throw Fault();

        static double Part(string text) =>
            PlainNumber.TryReal(text, out var value) && value >= 0 ? value : throw Fault();

        static FormatException Fault() => new("use the fall for each unit and the least scale, such as 0.5,2");
    }

    /// <summary>How to write a number instead of one with a comma; null where no comma is the fault.</summary>
    public static string? Advice(string text) => PlainNumber.Advice(text) is { Length: > 0 } advice ? advice : null;

    /// <exception cref="FormatException">It is neither true nor false.</exception>
    public static bool Flag(string text) => bool.TryParse(text, out var value) ? value : throw new FormatException("use true or false");
}
