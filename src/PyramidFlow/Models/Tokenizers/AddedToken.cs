using System.Globalization;
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
