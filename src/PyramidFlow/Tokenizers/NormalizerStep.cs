using System.Text;
using System.Text.Json;

namespace PyramidFlow.Tokenizers;

/// <summary>One step of the text normalisation named in a <c>tokenizer.json</c>.</summary>
internal abstract record NormalizerStep
{
    /// <summary>Applies the step.</summary>
    public abstract string Apply(string text);

    /// <summary>Reads the <c>normalizer</c> member; a sequence gives several steps, null gives none.</summary>
    /// <exception cref="InvalidDataException">The step is of a kind no T5 tokenizer uses.</exception>
    public static List<NormalizerStep> FromJson(JsonElement json)
    {
        if (json.ValueKind == JsonValueKind.Null)
            return [];
        return json.GetProperty("type").GetString() switch
        {
            "Sequence" => [.. json.GetProperty("normalizers").EnumerateArray().SelectMany(FromJson)],
            "Precompiled" => [new Charsmap(new(json.GetProperty("precompiled_charsmap").GetBytesFromBase64()))],
            "Strip" => [new Strip(TokenizerFile.Flag(json, "strip_left"), TokenizerFile.Flag(json, "strip_right"))],
            "Lowercase" => [new Lowercase()],
            "Replace" => [ReplaceFromJson(json)],
            var other => throw new InvalidDataException(
                $"normalizer \"{other}\" is not supported (Sequence, Precompiled, Strip, Replace and Lowercase are)"),
        };
    }

    private static NormalizerStep ReplaceFromJson(JsonElement json)
    {
        var content = json.GetProperty("content").GetString()!;
        var pattern = json.GetProperty("pattern");
        if (pattern.TryGetProperty("String", out var literal) && literal.GetString() is { Length: > 0 } text)
            return new Replace(text, content);
        if (pattern.TryGetProperty("Regex", out var regex) && regex.GetString() == " {2,}")
            return new ReplaceSpaceRuns(content);
        throw new InvalidDataException($"Replace pattern {pattern.GetRawText()} is not supported (a string, or / {{2,}}/)");
    }

    /// <summary>SentencePiece's compiled rules.</summary>
    public sealed record Charsmap(PrecompiledCharsmap Rules) : NormalizerStep
    {
        public override string Apply(string text) => Rules.Apply(text);
    }

    /// <summary>Cuts white space off the ends.</summary>
    public sealed record Strip(bool Left, bool Right) : NormalizerStep
    {
        public override string Apply(string text) => (Left, Right) switch
        {
            (true, true) => text.Trim(),
            (true, false) => text.TrimStart(),
            (false, true) => text.TrimEnd(),
            _ => text,
        };
    }

    /// <summary>Lower case of the whole text.</summary>
    public sealed record Lowercase : NormalizerStep
    {
        public override string Apply(string text) => UnicodeCase.ToLower(text);
    }

    /// <summary>Replaces every occurrence of a literal.</summary>
    public sealed record Replace(string Literal, string Content) : NormalizerStep
    {
        public override string Apply(string text) => text.Replace(Literal, Content, StringComparison.Ordinal);
    }

    /// <summary>Replaces each run of two or more spaces.</summary>
    public sealed record ReplaceSpaceRuns(string Content) : NormalizerStep
    {
        public override string Apply(string text)
        {
            if (!text.Contains("  ", StringComparison.Ordinal))
                return text;
            var output = new StringBuilder(text.Length);
            for (var at = 0; at < text.Length;)
            {
                var end = at;
                while (end < text.Length && text[end] == ' ')
                    end++;
                if (end - at >= 2)
                {
                    output.Append(Content);
                    at = end;
                }
                else
                {
                    output.Append(text[at++]);
                }
            }

            return output.ToString();
        }
    }
}
