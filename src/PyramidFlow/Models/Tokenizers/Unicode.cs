using System.Globalization;
using System.Text;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// Unicode normalisation form C (UAX 15). Without a culture library the runtime does not normalise, so the tables are embedded as
/// <c>UnicodeNfc.txt</c>.
/// </summary>
internal sealed class UnicodeComposer
{
    private const int SyllableBase = 0xAC00;
    private const int LeadBase = 0x1100;
    private const int VowelBase = 0x1161;
    private const int TrailBase = 0x11A7;
    private const int Leads = 19;
    private const int Vowels = 21;
    private const int Trails = 28;

    // Form C does not change text of characters below this one.
    private const char FirstToCheck = '\u0300';

    private static readonly Lazy<UnicodeComposer> Shared = new(() => new UnicodeComposer());

    private readonly Dictionary<int, int[]> decompositions = [];
    private readonly Dictionary<(int First, int Second), int> compositions = [];
    private readonly Dictionary<int, byte> classes = [];

    private UnicodeComposer()
    {
        using var stream = typeof(UnicodeComposer).Assembly.GetManifestResourceStream("UnicodeNfc.txt")!;
        using var lines = new StreamReader(stream);
        while (lines.ReadLine() is { } line)
        {
            if (line[0] == '#')
                continue;
            var parts = line.Split(' ');
            if (parts[0] == "C")
            {
                for (var c = Hex(parts[1]); c <= Hex(parts[2]); c++)
                    classes[c] = byte.Parse(parts[3], CultureInfo.InvariantCulture);
                continue;
            }

            var composed = Hex(parts[1]);
            int[] pieces = [.. parts.Skip(2).Select(Hex)];
            decompositions[composed] = pieces;
            if (parts[0] == "D")
                compositions[(pieces[0], pieces[1])] = composed;
        }
    }

    /// <summary>Converts a text to form C; lone surrogates become U+FFFD.</summary>
    public static string Compose(string text) =>
        text.AsSpan().IndexOfAnyExceptInRange('\0', (char)(FirstToCheck - 1)) < 0 ? text : Shared.Value.Run(text);

    private string Run(string text)
    {
        var points = new List<int>(text.Length);
        foreach (var rune in text.EnumerateRunes())
            Decompose(rune.Value, points);
        SortMarks(points);
        var output = new StringBuilder(text.Length);
        foreach (var point in ComposePairs(points))
            output.Append(new Rune(point));
        return output.ToString();
    }

    private void Decompose(int point, List<int> output)
    {
        var syllable = point - SyllableBase;
        if (syllable is >= 0 and < Leads * Vowels * Trails)
        {
            output.Add(LeadBase + (syllable / (Vowels * Trails)));
            output.Add(VowelBase + (syllable / Trails % Vowels));
            if (syllable % Trails != 0)
                output.Add(TrailBase + (syllable % Trails));
        }
        else if (decompositions.TryGetValue(point, out var pieces))
        {
            foreach (var piece in pieces)
                Decompose(piece, output);
        }
        else
        {
            output.Add(point);
        }
    }

    // Sorts runs of marks by class; the sort is stable.
    private void SortMarks(List<int> points)
    {
        for (var start = 0; start < points.Count;)
        {
            var end = start;
            while (end < points.Count && Class(points[end]) != 0)
                end++;
            if (end - start > 1)
            {
                var sorted = points.GetRange(start, end - start).OrderBy(Class).ToList();
                for (var i = 0; i < sorted.Count; i++)
                    points[start + i] = sorted[i];
            }

            start = Math.Max(end, start + 1);
        }
    }

    private List<int> ComposePairs(List<int> points)
    {
        var output = new List<int>(points.Count);
        var starter = -1;
        var lastClass = 0;
        foreach (var point in points)
        {
            var own = Class(point);
            // A mark of the same or a higher class in between blocks a mark from its starter.
            var adjacent = starter == output.Count - 1;
            if (starter >= 0 && (adjacent || (lastClass < own && own != 0))
                && TryCompose(output[starter], point, out var composed))
            {
                output[starter] = composed;
                continue;
            }

            if (own == 0)
                starter = output.Count;
            lastClass = own;
            output.Add(point);
        }

        return output;
    }

    private bool TryCompose(int first, int second, out int composed)
    {
        if (first is >= LeadBase and < LeadBase + Leads && second is >= VowelBase and < VowelBase + Vowels)
        {
            composed = SyllableBase + ((((first - LeadBase) * Vowels) + (second - VowelBase)) * Trails);
            return true;
        }

        if (first is >= SyllableBase and < SyllableBase + (Leads * Vowels * Trails)
            && (first - SyllableBase) % Trails == 0 && second is > TrailBase and < TrailBase + Trails)
        {
            composed = first + (second - TrailBase);
            return true;
        }

        return compositions.TryGetValue((first, second), out composed);
    }

    private int Class(int point) => classes.GetValueOrDefault(point);

    private static int Hex(string digits) => int.Parse(digits, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
}

/// <summary>Full lower-casing of the Unicode standard, including SpecialCasing, independent of culture.</summary>
internal static class UnicodeCase
{
    private const int CapitalSigma = 0x03A3;
    private const int CapitalDottedI = 0x0130;

    /// <summary>Converts a text to lower case; lone surrogates become U+FFFD.</summary>
    public static string ToLower(string text)
    {
        if (Ascii.IsValid(text))
            return text.ToLowerInvariant();
        Rune[] runes = [.. text.EnumerateRunes()];
        var output = new StringBuilder(text.Length);
        for (var i = 0; i < runes.Length; i++)
        {
            if (runes[i].Value == CapitalDottedI)
                output.Append("i\u0307");
            else if (runes[i].Value == CapitalSigma)
                output.Append(EndsWord(runes, i) ? 'ς' : 'σ');
            else
                output.Append(Rune.ToLowerInvariant(runes[i]));
        }

        return output.ToString();
    }

    // Final_Sigma: a cased letter before and none after, ignoring marks and other case-ignorable characters.
    private static bool EndsWord(Rune[] text, int sigma)
    {
        var before = sigma - 1;
        while (before >= 0 && IsCaseIgnorable(text[before]))
            before--;
        var after = sigma + 1;
        while (after < text.Length && IsCaseIgnorable(text[after]))
            after++;
        return before >= 0 && IsCased(text[before]) && (after == text.Length || !IsCased(text[after]));
    }

    // Letters with case, and the Other_Lowercase and Other_Uppercase ones that are not modifiers.
    private static bool IsCased(Rune c) => Rune.GetUnicodeCategory(c) is UnicodeCategory.UppercaseLetter
            or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
        || c.Value is 0xAA or 0xBA or (>= 0x2160 and <= 0x217F) or (>= 0x24B6 and <= 0x24E9)
            or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189);

    private static bool IsCaseIgnorable(Rune c) =>
        c.Value is '\'' or '.' or ':' or '·' or '\u055F' or '\u05F4' or '‘' or '’' or '․' or '‧'
            or '\uFE13' or '\uFE52' or '\uFE55' or '\uFF07' or '\uFF0E' or '\uFF1A' or '\u0387'
        || Rune.GetUnicodeCategory(c) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark
            or UnicodeCategory.Format or UnicodeCategory.ModifierLetter or UnicodeCategory.ModifierSymbol;
}
