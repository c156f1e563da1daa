using static System.FormattableString;

namespace PyramidFlow.Generation;

/// <summary>Words that the checks of requests share.</summary>
internal static class RequestText
{
    internal static string Count(int count, string what) => Invariant($"{count} {what}{(count == 1 ? "" : "s")}");

    internal static string Either(long below, long above) => below > 0 ? Invariant($"{below} or {above}") : Invariant($"{above}");
}
