using System.Text;
using System.Text.Json;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>One step of the text normalisation named in a <c>tokenizer.json</c>.</summary>
internal abstract record NormalizerStep
{
    // Of T5 there are three.
    private const int MaxSteps = 16;

    /// <summary>Applies the step.</summary>
    /// <param name="text">The text.</param>
    /// <param name="most">Most characters that it may become.</param>
    /// <exception cref="InvalidDataException">It becomes longer.</exception>
    public abstract string Apply(string text, int most);

    /// <summary>Reads the <c>normalizer</c> member; a sequence gives several steps, null gives none.</summary>
    /// <exception cref="InvalidDataException">The step is of a kind no T5 tokenizer uses.</exception>
    public static List<NormalizerStep> FromJson(JsonElement json)
    {
        var steps = Steps(json).Take(MaxSteps + 1).ToList();
        return steps.Count <= MaxSteps ? steps : throw new InvalidDataException($"its normalizer has more than {MaxSteps} steps");
    }

    /// <summary>The error for a text that grows beyond what normalisation makes of any.</summary>
    public static InvalidDataException TooLong(int most) => new($"its normalizer makes more than {most} characters of a text");

    private static IEnumerable<NormalizerStep> Steps(JsonElement json) => json.ValueKind == JsonValueKind.Null ? [] : TokenizerFile.Text(json, "type") switch
    {
        "Sequence" => TokenizerFile.Member(json, "normalizers", JsonValueKind.Array).EnumerateArray().SelectMany(Steps),
        "Precompiled" => [CharsmapFromJson(json)],
        "Strip" => [new Strip(TokenizerFile.Flag(json, "strip_left"), TokenizerFile.Flag(json, "strip_right"))],
        "Lowercase" => [new Lowercase()],
        "Replace" => [ReplaceFromJson(json)],
        var other => throw new InvalidDataException(
            $"normalizer \"{other}\" is not supported (Sequence, Precompiled, Strip, Replace and Lowercase are)"),
    };

    private static Charsmap CharsmapFromJson(JsonElement json) =>
        TokenizerFile.Member(json, "precompiled_charsmap", JsonValueKind.String).TryGetBytesFromBase64(out var blob)
            ? new Charsmap(new PrecompiledCharsmap(blob))
            : throw new InvalidDataException("its precompiled_charsmap is not base64");

    private static NormalizerStep ReplaceFromJson(JsonElement json)
    {
        var content = TokenizerFile.Text(json, "content");
        var pattern = TokenizerFile.Member(json, "pattern", JsonValueKind.Object);
        if (pattern.TryGetProperty("String", out _) && TokenizerFile.Text(pattern, "String") is { Length: > 0 } text)
            return new Replace(text, content);
        if (pattern.TryGetProperty("Regex", out _) && TokenizerFile.Text(pattern, "Regex") == " {2,}")
            return new ReplaceSpaceRuns(content);
        throw new InvalidDataException("a Replace pattern is neither a text nor the regular expression / {2,}/, which are supported");
    }

    /// <summary>SentencePiece's compiled rules.</summary>
    public sealed record Charsmap(PrecompiledCharsmap Rules) : NormalizerStep
    {
        public override string Apply(string text, int most) => Rules.Apply(text, most);
    }

    /// <summary>Cuts white space off the ends.</summary>
    public sealed record Strip(bool Left, bool Right) : NormalizerStep
    {
        public override string Apply(string text, int most) => (Left, Right) switch
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
        public override string Apply(string text, int most) => UnicodeCase.ToLower(text);
    }

    /// <summary>Replaces every occurrence of a literal.</summary>
    public sealed record Replace(string Literal, string Content) : NormalizerStep
    {
        public override string Apply(string text, int most)
        {
            long length = text.Length;
            for (var at = text.IndexOf(Literal, StringComparison.Ordinal); at >= 0 && Content.Length > Literal.Length; at = text.IndexOf(Literal, at + Literal.Length, StringComparison.Ordinal))
            {
                length += Content.Length - Literal.Length;
                if (length > most)
                    throw TooLong(most);
            }

            return text.Replace(Literal, Content, StringComparison.Ordinal);
        }
    }

    /// <summary>Replaces each run of two or more spaces.</summary>
    public sealed record ReplaceSpaceRuns(string Content) : NormalizerStep
    {
        public override string Apply(string text, int most)
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
                    if (output.Length + Content.Length > most)
                        throw TooLong(most);
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
