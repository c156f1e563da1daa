namespace PyramidFlow.Training.Runs;

/// <summary>Finds what somebody who mistyped a key most likely meant.</summary>
internal static class NearestKey
{
    /// <summary>The known key that fewest changes of letters lead to.</summary>
    public static string? Of(string key, IEnumerable<string> known) => known.MinBy(candidate => Distance(key, candidate));

    // Levenshtein's distance, row by row.
    private static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replaced, 1 + Math.Min(row[j], row[j - 1]));
            }
        }

        return row[^1];
    }
}
