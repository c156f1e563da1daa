using System.Buffers;
using System.Text;

namespace PyramidFlow.Models.Tokenizers.Repair;

/// <summary>
/// Mends text as version 6.3.1 of the repair package ftfy does with its defaults (<c>fix_text</c>): HTML entities, UTF-8
/// read in another encoding, C1 controls, ligatures, widths, curly quotes, line breaks, half surrogates, terminal escapes,
/// control characters, form C. Lines are mended one by one.
/// </summary>
internal static class TextRepair
{
    private const int LongestSegment = 1_000_000;

    // Text of these alone is left as it is.
    private static readonly SearchValues<char> Sound = SearchValues.Create(
        string.Concat(Enumerable.Range(' ', 0x7F - ' ').Select(c => (char)c).Where(c => c != '&')) + "\t\n\f");

    /// <summary>Mends a text.</summary>
    /// <returns>Valid UTF-16 in form C; the same text where nothing is wrong.</returns>
    public static string Repair(string text)
    {
        if (!text.AsSpan().ContainsAnyExcept(Sound))
            return text;
        var output = new StringBuilder(text.Length);
        var entities = true;
        for (var start = 0; start < text.Length;)
        {
            var end = SegmentEnd(text, start);
            var segment = text[start..end];
            // A < tells of real HTML, whose entities are meant: from that line on.
            entities = entities && !segment.Contains('<', StringComparison.Ordinal);
            output.Append(RepairSegment(segment, entities));
            start = end;
        }

        return output.ToString();
    }

    private static int SegmentEnd(string text, int start)
    {
        var end = start;
        for (var points = 0; end < text.Length && points < LongestSegment; points++)
        {
            if (text[end] == '\n')
                return end + 1;
            end += char.IsSurrogatePair(text, end) ? 2 : 1;
        }

        return end;
    }

    private static string RepairSegment(string text, bool entities)
    {
        var budget = new RepairBudget(text.Length);
        while (budget.TakeRound(text))
        {
            var before = text;
            if (entities)
                text = HtmlEntities.Unescape(text);
            text = Mojibake.Repair(text, budget);
            text = CharacterRepair.Repair(text);
            text = UnicodeComposer.Compose(text);
            if (text == before)
                break;
        }

        return text;
    }
}
