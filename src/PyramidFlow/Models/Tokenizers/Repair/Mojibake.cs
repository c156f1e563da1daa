using System.Buffers;
using System.Text;

namespace PyramidFlow.Models.Tokenizers.Repair;

/// <summary>UTF-8 that was read in an encoding of one byte a character, perhaps several times over, is read again.</summary>
internal static class Mojibake
{
    // Leads of two, three and four bytes, and what follows them, in all encodings like Latin-1.
    private static readonly SearchValues<char> LeadsOfTwo = Characters(0xC2, 0xDF);
    private static readonly SearchValues<char> LeadsOfThree = Characters(0xE0, 0xEF);
    private static readonly SearchValues<char> LeadsOfFour = Characters([0xF0, 0xF3]);
    private static readonly SearchValues<char> Continuations = Characters(0x80, 0xBF, and: " ");

    // Those that seldom stand for themselves beside mojibake.
    private static readonly SearchValues<char> SureContinuations = Characters(0x80, 0xBF, without: "–—―‘’‚“”„•…");

    /// <summary>Reads a line again until nothing in it looks misread.</summary>
    public static string Repair(string text, RepairBudget budget)
    {
        while (true)
        {
            var next = ReadOnceMore(text, budget);
            if (next == text)
                return text;
            text = next;
        }
    }

    private static string ReadOnceMore(string text, RepairBudget budget)
    {
        if (!budget.TakeRound(text) || Ascii.IsValid(text) || !MojibakeSigns.In(text))
            return text;
        foreach (var encoding in SingleByteEncoding.InOrderOfTrial)
        {
            if (encoding.TryEncode(text) is { } bytes && Utf8Repair.TryDecode(bytes, encoding) is { } read)
                return read;
        }

        var repaired = RepairRuns(text, budget);
        return repaired == text ? CharacterRepair.ReplaceC1(text) : repaired;
    }

    // Runs that look like UTF-8 in the midst of other text. A run is shorter than the text it stands in and shrinks at
    // each reading, which bounds the depth.
    private static string RepairRuns(string text, RepairBudget budget)
    {
        var output = new StringBuilder(text.Length);
        for (var at = 0; at < text.Length;)
        {
            var length = at > 0 && SureContinuations.Contains(text[at - 1]) ? 0 : RunLength(text.AsSpan(at));
            if (length == 0)
            {
                output.Append(text[at++]);
                continue;
            }

            var run = text.Substring(at, length);
            output.Append(length < text.Length && MojibakeSigns.In(run) ? Repair(run, budget) : run);
            at += length;
        }

        return output.ToString();
    }

    private static int RunLength(ReadOnlySpan<char> text)
    {
        var length = 0;
        while (length < text.Length)
        {
            var lead = text[length];
            var following = LeadsOfTwo.Contains(lead) ? 1 : LeadsOfThree.Contains(lead) ? 2 : LeadsOfFour.Contains(lead) ? 3 : 0;
            var rest = text[(length + 1)..];
            if (following == 0 || rest.Length < following || rest[..following].ContainsAnyExcept(Continuations))
                break;
            length += 1 + following;
        }

        return length;
    }

    private static SearchValues<char> Characters(int first, int last, string and = "", string without = "") =>
        SearchValues.Create([.. Characters(Enumerable.Range(first, last - first + 1)).Except(without), .. and]);

    private static SearchValues<char> Characters(int[] bytes) => SearchValues.Create([.. Characters(bytes.AsEnumerable())]);

    private static IEnumerable<char> Characters(IEnumerable<int> bytes) =>
        from b in bytes from encoding in SingleByteEncoding.LikeLatin1 select encoding.UpperHalf[b - 0x80];
}
