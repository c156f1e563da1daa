using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>A token that is recognised in the raw text, before any other step.</summary>
/// <param name="Id">Token id.</param>
/// <param name="Content">Its text.</param>
/// <param name="StripLeft">Whether it swallows white space before it.</param>
/// <param name="StripRight">Whether it swallows white space after it.</param>
/// <param name="SingleWord">Whether it counts only where no letter or digit touches it.</param>
internal sealed record AddedToken(
    int Id, string Content, bool StripLeft = false, bool StripRight = false, bool SingleWord = false)
{
    // Vocabularies have up to some hundred thousand tokens, and their names are short.
    private const int MaxId = 1 << 24, MaxLength = 256;

    /// <summary>Reads the entry of <c>added_tokens</c> or <c>added_tokens_decoder</c>.</summary>
    /// <exception cref="InvalidDataException">It describes no token.</exception>
    public static AddedToken FromJson(int id, JsonElement entry)
    {
        var content = TokenizerFile.Text(entry, "content");
        if (content.Length is 0 or > MaxLength)
            throw new InvalidDataException($"added token {id} has a text of {content.Length} characters; 1 to {MaxLength} are possible");
        if (id is < 0 or > MaxId)
            throw new InvalidDataException($"the id of added token {id} is not one of 0 to {MaxId}");
        return new AddedToken(id, content, TokenizerFile.Flag(entry, "lstrip"), TokenizerFile.Flag(entry, "rstrip"),
            TokenizerFile.Flag(entry, "single_word"));
    }

    /// <summary>Reads <c>added_tokens_decoder</c>, an object keyed by id; null when the settings have none.</summary>
    /// <exception cref="InvalidDataException">It is no such object.</exception>
    public static List<AddedToken>? FromDecoder(JsonElement settings)
    {
        if (!settings.TryGetProperty("added_tokens_decoder", out _))
            return null;
        var tokens = new List<AddedToken>();
        foreach (var entry in TokenizerFile.Member(settings, "added_tokens_decoder", JsonValueKind.Object).EnumerateObject())
        {
            if (!int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out var id))
                throw new InvalidDataException($"added_tokens_decoder has the key \"{entry.Name}\", which is not the id of a token");
            tokens.Add(FromJson(id, entry.Value));
        }

        return tokens;
    }
}

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
