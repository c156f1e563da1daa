namespace PyramidFlow.Torch.Formats;

/// <summary>Finds what somebody who mistyped a name most likely meant.</summary>
public static class NearestName
{
    /// <summary>The known name that fewest changes of letters lead to; null where there is none.</summary>
    /// <param name="typed">What was typed.</param>
    /// <param name="known">The names there are.</param>
    public static string? Of(string typed, IEnumerable<string> known) => known.MinBy(name => Distance(typed, name));

    /// <summary>The same, but only when it is near enough to be a slip of the fingers: one letter, or a third of them.</summary>
    /// <param name="typed">What was typed; shorter than three letters, it may be meant as anything.</param>
    /// <param name="known">The names there are.</param>
    public static string? Slip(string typed, IEnumerable<string> known) =>
        typed.Length > 2 && Of(typed, known) is { } name && Distance(typed, name) <= Math.Max(1, typed.Length / 3) ? name : null;

    // Letters to add, leave out, change or swap with the next (optimal string alignment).
    private static int Distance(string a, string b)
    {
        var table = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++)
        {
            for (var j = 0; j <= b.Length; j++)
            {
                table[i, j] = i == 0 || j == 0 ? i + j
                    : Math.Min(Math.Min(table[i - 1, j], table[i, j - 1]) + 1, table[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                    table[i, j] = Math.Min(table[i, j], table[i - 2, j - 2] + 1);
            }
        }

        return table[a.Length, b.Length];
    }
}
