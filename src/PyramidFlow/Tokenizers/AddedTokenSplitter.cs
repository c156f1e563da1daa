using System.Runtime.InteropServices;

namespace PyramidFlow.Tokenizers;

/// <summary>Cuts a text at its added tokens: leftmost first, the longest where several begin at one place.</summary>
internal sealed class AddedTokenSplitter
{
    private readonly Dictionary<char, AddedToken[]> byFirstChar;

    public AddedTokenSplitter(IEnumerable<AddedToken> tokens)
    {
        byFirstChar = tokens
            .GroupBy(t => t.Content[0])
            .ToDictionary(g => g.Key, g => g.OrderByDescending(t => t.Content.Length).ToArray());
    }

    /// <summary>A piece of the text: an added token's id, or (id -1) the text in between.</summary>
    [StructLayout(LayoutKind.Auto)]
    public readonly record struct Segment(int Id, int Start, int Length);

    /// <summary>Segments in reading order; no empty ones.</summary>
    public List<Segment> Split(string text)
    {
        var segments = new List<Segment>();
        var done = 0;
        for (var at = 0; at < text.Length;)
        {
            if (Match(text, at) is not { } token)
            {
                at++;
                continue;
            }

            var start = at;
            var stop = at + token.Content.Length;
            at = stop;
            if (token.SingleWord && (IsWord(text, start - 1) || IsWord(text, stop)))
                continue;
            while (token.StripLeft && start > done && char.IsWhiteSpace(text[start - 1]))
                start--;
            while (token.StripRight && stop < text.Length && char.IsWhiteSpace(text[stop]))
                stop++;
            if (start > done)
                segments.Add(new Segment(-1, done, start - done));
            segments.Add(new Segment(token.Id, start, stop - start));
            done = at = stop;
        }

        if (done < text.Length)
            segments.Add(new Segment(-1, done, text.Length - done));
        return segments;
    }

    private AddedToken? Match(string text, int at)
    {
        if (!byFirstChar.TryGetValue(text[at], out var candidates))
            return null;
        foreach (var token in candidates)
        {
            if (text.AsSpan(at).StartsWith(token.Content, StringComparison.Ordinal))
                return token;
        }

        return null;
    }

    private static bool IsWord(string text, int at) =>
        at >= 0 && at < text.Length && (char.IsLetterOrDigit(text[at]) || text[at] == '_');
}
