namespace PyramidFlow.Torch.Formats;

/// <summary>Finds the known name closest to a mistyped one.</summary>
internal static class NearestName
{
    /// <summary>Finds the known name with the smallest edit distance; null if no name is known.</summary>
    /// <param name="typed">The typed name.</param>
    /// <param name="known">All known names.</param>
    public static string? Find(string typed, IEnumerable<string> known) => known.MinBy(name => Distance(typed, name));

    /// <summary>Like <see cref="Find"/>, but only within the distance of a typing error: one letter, or a third of all letters.</summary>
    /// <param name="typed">The typed name; below three letters nothing is found.</param>
    /// <param name="known">All known names.</param>
    public static string? FindTypo(string typed, IEnumerable<string> known) =>
        typed.Length > 2 && Find(typed, known) is { } name && Distance(typed, name) <= Math.Max(1, typed.Length / 3) ? name : null;

    // Optimal string alignment: insert, delete, substitute or transpose letters.
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
