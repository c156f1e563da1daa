using System.Globalization;
using System.Text.Json;

namespace PyramidFlow.Tokenizers;

/// <summary>A token that is recognised in the raw text, before any other step.</summary>
/// <param name="Id">Token id.</param>
/// <param name="Content">Its text.</param>
/// <param name="StripLeft">Whether it swallows white space before it.</param>
/// <param name="StripRight">Whether it swallows white space after it.</param>
/// <param name="SingleWord">Whether it counts only where no letter or digit touches it.</param>
internal sealed record AddedToken(
    int Id, string Content, bool StripLeft = false, bool StripRight = false, bool SingleWord = false)
{
    /// <summary>Reads the entry of <c>added_tokens</c> or <c>added_tokens_decoder</c>.</summary>
    public static AddedToken FromJson(int id, JsonElement entry)
    {
        var content = entry.GetProperty("content").GetString();
        if (string.IsNullOrEmpty(content) || id < 0)
            throw new InvalidDataException($"added token {id} has no text or a negative id");
        return new AddedToken(id, content, TokenizerFile.Flag(entry, "lstrip"), TokenizerFile.Flag(entry, "rstrip"),
            TokenizerFile.Flag(entry, "single_word"));
    }

    /// <summary>Reads <c>added_tokens_decoder</c>, an object keyed by id; null when the settings have none.</summary>
    public static List<AddedToken>? FromDecoder(JsonElement settings)
    {
        if (!settings.TryGetProperty("added_tokens_decoder", out var decoder))
            return null;
        var tokens = new List<AddedToken>();
        foreach (var entry in decoder.EnumerateObject())
            tokens.Add(FromJson(int.Parse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture), entry.Value));
        return tokens;
    }
}
