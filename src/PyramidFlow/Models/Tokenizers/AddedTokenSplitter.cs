using System.Runtime.InteropServices;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>Cuts a text at its added tokens: leftmost first, the longest where several begin at one place.</summary>
internal sealed class AddedTokenSplitter
{
    private readonly Dictionary<string, AddedToken> byContent = new(StringComparer.Ordinal);

    // Lengths of the tokens that begin with a character, the longest first.
    private readonly Dictionary<char, int[]> lengths;

    public AddedTokenSplitter(IEnumerable<AddedToken> tokens)
    {
        foreach (var token in tokens.Where(token => token.Content.Length > 0))
            byContent.TryAdd(token.Content, token);
        lengths = byContent.Keys.GroupBy(content => content[0])
            .ToDictionary(group => group.Key, group => group.Select(content => content.Length).Distinct().OrderDescending().ToArray());
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
        if (!lengths.TryGetValue(text[at], out var candidates))
            return null;
        var known = byContent.GetAlternateLookup<ReadOnlySpan<char>>();
        foreach (var length in candidates)
        {
            if (length <= text.Length - at && known.TryGetValue(text.AsSpan(at, length), out var token))
                return token;
        }

        return null;
    }

    private static bool IsWord(string text, int at) =>
        at >= 0 && at < text.Length && (char.IsLetterOrDigit(text[at]) || text[at] == '_');
}
