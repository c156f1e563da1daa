using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using PyramidFlow.Torch;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>A token that is matched in the raw text before any other step.</summary>
/// <param name="Id">Token id.</param>
/// <param name="Content">Text.</param>
/// <param name="StripLeft">Whether it includes white space before it.</param>
/// <param name="StripRight">Whether it includes white space after it.</param>
/// <param name="SingleWord">Whether it matches only without an adjacent letter, digit or underscore.</param>
internal sealed record AddedToken(
    int Id, string Content, bool StripLeft = false, bool StripRight = false, bool SingleWord = false)
{
    // Real vocabularies have up to some hundred thousand tokens with short names.
    private const int MaxId = 1 << 24, MaxLength = 256;

    /// <summary>Reads an entry of <c>added_tokens</c> or <c>added_tokens_decoder</c>.</summary>
    /// <exception cref="InvalidDataException">The entry is not a valid token.</exception>
    public static AddedToken FromJson(int id, JsonElement entry)
    {
        var content = TokenizerFile.Text(entry, "content");
        if (content.Length is 0 or > MaxLength)
            throw new InvalidDataException($"added token {id} has a text of {content.Length} characters; 1 to {MaxLength} are possible");
        if (id is < 0 or > MaxId)
            throw new InvalidDataException(CheckpointFault.TokenIdOutOfRange(id, MaxId));
        return new AddedToken(id, content, TokenizerFile.Flag(entry, "lstrip"), TokenizerFile.Flag(entry, "rstrip"),
            TokenizerFile.Flag(entry, "single_word"));
    }

    /// <summary>Reads <c>added_tokens_decoder</c>, an object keyed by id; null if the settings have none.</summary>
    /// <exception cref="InvalidDataException">It is not such an object.</exception>
    public static List<AddedToken>? FromDecoder(JsonElement settings)
    {
        if (!settings.TryGetProperty("added_tokens_decoder", out _))
            return null;
        var tokens = new List<AddedToken>();
        foreach (var entry in TokenizerFile.Member(settings, "added_tokens_decoder", JsonValueKind.Object).EnumerateObject())
        {
            if (!int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out var id))
                throw new InvalidDataException(CheckpointFault.NoTokenId(entry.Name));
            tokens.Add(FromJson(id, entry.Value));
        }

        return tokens;
    }
}

/// <summary>Splits a text at its added tokens: the leftmost first, and the longest of those at one position.</summary>
internal sealed class AddedTokenSplitter
{
    private readonly Dictionary<string, AddedToken> byContent = new(StringComparer.Ordinal);

    // Lengths of the tokens by their first character, the longest first.
    private readonly Dictionary<char, int[]> lengths;

    public AddedTokenSplitter(IEnumerable<AddedToken> tokens)
    {
        foreach (var token in tokens.Where(token => token.Content.Length > 0))
            byContent.TryAdd(token.Content, token);
        lengths = byContent.Keys.GroupBy(content => content[0])
            .ToDictionary(group => group.Key, group => group.Select(content => content.Length).Distinct().OrderDescending().ToArray());
    }

    /// <summary>A segment of the text: an added token, or text between added tokens with id -1.</summary>
    [StructLayout(LayoutKind.Auto)]
    public readonly record struct Segment(int Id, int Start, int Length);

    /// <summary>Segments in reading order, none of them empty.</summary>
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

    /// <summary>Token ids of a text: those of its added tokens, and those of the text between them.</summary>
    /// <param name="text">The text.</param>
    /// <param name="encode">Appends the ids of a segment without added tokens; its second argument is whether the segment begins the text.</param>
    public List<int> Encode(string text, Action<string, bool, List<int>> encode)
    {
        ArgumentNullException.ThrowIfNull(text);
        var ids = new List<int>();
        foreach (var segment in Split(text))
        {
            if (segment.Id >= 0)
                ids.Add(segment.Id);
            else
                encode(text.Substring(segment.Start, segment.Length), segment.Start == 0, ids);
        }

        return ids;
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
