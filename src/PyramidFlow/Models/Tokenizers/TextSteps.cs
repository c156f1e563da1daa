using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Json;
using PyramidFlow.Torch;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>One step of the text normalisation in a <c>tokenizer.json</c>.</summary>
internal abstract record NormalizerStep
{
    // T5 has three.
    private const int MaxSteps = 16;

    /// <summary>Applies the step.</summary>
    /// <param name="text">The text.</param>
    /// <param name="limit">Maximum length of the result, characters.</param>
    /// <exception cref="InvalidDataException">The result is longer.</exception>
    public abstract string Apply(string text, int limit);

    /// <summary>Reads the <c>normalizer</c> member: several steps of a sequence, none of null.</summary>
    /// <exception cref="InvalidDataException">No T5 tokenizer uses such a step.</exception>
    public static List<NormalizerStep> FromJson(JsonElement json)
    {
        var steps = Steps(json).Take(MaxSteps + 1).ToList();
        return steps.Count <= MaxSteps ? steps : throw new InvalidDataException(CheckpointFault.TooManySteps("normalizer", MaxSteps));
    }

    /// <summary>The error for a text that normalisation makes too long.</summary>
    public static InvalidDataException TooLong(int limit) => new(CheckpointFault.TextTooLong(limit));

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

    /// <summary>Applies SentencePiece's compiled rules.</summary>
    public sealed record Charsmap(PrecompiledCharsmap Rules) : NormalizerStep
    {
        public override string Apply(string text, int limit) => Rules.Apply(text, limit);
    }

    /// <summary>Removes white space from the ends.</summary>
    public sealed record Strip(bool Left, bool Right) : NormalizerStep
    {
        public override string Apply(string text, int limit) => (Left, Right) switch
        {
            (true, true) => text.Trim(),
            (true, false) => text.TrimStart(),
            (false, true) => text.TrimEnd(),
            _ => text,
        };
    }

    /// <summary>Converts to lower case.</summary>
    public sealed record Lowercase : NormalizerStep
    {
        public override string Apply(string text, int limit) => UnicodeCase.ToLower(text);
    }

    /// <summary>Replaces every occurrence of a literal.</summary>
    public sealed record Replace(string Literal, string Content) : NormalizerStep
    {
        public override string Apply(string text, int limit)
        {
            long length = text.Length;
            for (var at = text.IndexOf(Literal, StringComparison.Ordinal); at >= 0 && Content.Length > Literal.Length; at = text.IndexOf(Literal, at + Literal.Length, StringComparison.Ordinal))
            {
                length += Content.Length - Literal.Length;
                if (length > limit)
                    throw TooLong(limit);
            }

            return text.Replace(Literal, Content, StringComparison.Ordinal);
        }
    }

    /// <summary>Replaces each run of two or more spaces.</summary>
    public sealed record ReplaceSpaceRuns(string Content) : NormalizerStep
    {
        public override string Apply(string text, int limit)
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
                    if (output.Length + Content.Length > limit)
                        throw TooLong(limit);
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

/// <summary>
/// SentencePiece's compiled normalisation rules (T5 uses <c>nmt_nfkc</c>): a darts-clone double array that maps UTF-8 text to offsets
/// into a block of NUL-terminated replacements. Layout, little-endian: size of the array in bytes (uint32), its units (uint32 each),
/// the replacements.
/// </summary>
internal sealed class PrecompiledCharsmap
{
    // The reference looks up whole graphemes only up to this number of UTF-8 bytes.
    private const int MaxGraphemeBytes = 5;

    private readonly uint[] units;
    private readonly byte[] replacements;

    /// <summary>Reads the compiled rules.</summary>
    /// <exception cref="InvalidDataException">The sizes in the data are inconsistent.</exception>
    public PrecompiledCharsmap(ReadOnlySpan<byte> blob)
    {
        if (blob.Length < 8)
            throw new InvalidDataException($"the precompiled charsmap has only {blob.Length} bytes");
        var arrayBytes = BinaryPrimitives.ReadUInt32LittleEndian(blob);
        if (arrayBytes == 0 || arrayBytes % 4 != 0 || arrayBytes > blob.Length - 4)
        {
            throw new InvalidDataException(
                $"the precompiled charsmap says its array has {arrayBytes} bytes, of {blob.Length} in all");
        }

        units = new uint[arrayBytes / 4];
        for (var i = 0; i < units.Length; i++)
            units[i] = BinaryPrimitives.ReadUInt32LittleEndian(blob[(4 + (4 * i))..]);
        replacements = blob[(4 + (int)arrayBytes)..].ToArray();
        if (replacements.Length > 0 && replacements[^1] != 0)
            throw new InvalidDataException("the precompiled charsmap's last replacement has no end");
    }

    /// <summary>Applies the rules grapheme by grapheme, like the reference's fast tokenizer.</summary>
    /// <param name="text">The text.</param>
    /// <param name="limit">Maximum length of the result, characters.</param>
    /// <exception cref="InvalidDataException">The result is longer.</exception>
    public string Apply(string text, int limit)
    {
        var output = new List<byte>(text.Length + 16);
        Span<byte> utf8 = stackalloc byte[4];
        Span<byte> grapheme = stackalloc byte[MaxGraphemeBytes];
        for (var rest = text.AsSpan(); rest.Length > 0;)
        {
            var length = StringInfo.GetNextTextElementLength(rest);
            var element = rest[..length];
            rest = rest[length..];
            if (length <= MaxGraphemeBytes && Encoding.UTF8.GetByteCount(element) <= MaxGraphemeBytes)
            {
                var bytes = grapheme[..Encoding.UTF8.GetBytes(element, grapheme)];
                if (TryReplace(bytes, output, limit))
                    continue;
            }

            foreach (var rune in element.EnumerateRunes())
            {
                var bytes = utf8[..rune.EncodeToUtf8(utf8)];
                if (!TryReplace(bytes, output, limit))
                    output.AddRange(bytes);
            }
        }

        return Encoding.UTF8.GetString(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(output));
    }

    // Like the reference: the shortest rule that matches a prefix of the chunk replaces the whole chunk.
    private bool TryReplace(ReadOnlySpan<byte> chunk, List<byte> output, int limit)
    {
        var at = Offset(units[0]);
        foreach (var b in chunk)
        {
            at ^= b;
            if (b == 0 || at >= (uint)units.Length)
                return false;
            var unit = units[at];
            if ((unit & 0x800000FF) != b)
                return false;
            at ^= Offset(unit);
            if ((unit & 0x100) == 0)
                continue;
            if (at >= (uint)units.Length)
                return false;
            var start = units[at] & 0x7FFFFFFF;
            if (start >= replacements.Length)
                return false;
            var replacement = replacements.AsSpan((int)start);
            var length = replacement.IndexOf((byte)0);
            // A UTF-16 character has at limit three bytes of UTF-8.
            if (output.Count + length > 3L * limit)
                throw NormalizerStep.TooLong(limit);
            output.AddRange(replacement[..length]);
            return true;
        }

        return false;
    }

    private static uint Offset(uint unit) => (unit >> 10) << (int)((unit & 0x200) >> 6);
}

/// <summary>One step of the split into words (<c>pre_tokenizer</c>) in a <c>tokenizer.json</c>.</summary>
internal abstract record WordSplitStep
{
    // T5 has two. The number is limited because each step may lengthen every word of the previous one.
    private const int MaxSteps = 8;

    /// <summary>Splits a word.</summary>
    /// <param name="word">The word, not empty.</param>
    /// <param name="opensText">Whether the word begins the text.</param>
    public abstract IEnumerable<(string Word, bool OpensText)> Split(string word, bool opensText);

    /// <summary>Reads the <c>pre_tokenizer</c> member: several steps of a sequence, none of null.</summary>
    /// <exception cref="InvalidDataException">No T5 tokenizer uses such a step.</exception>
    public static List<WordSplitStep> FromJson(JsonElement json)
    {
        var steps = Steps(json).Take(MaxSteps + 1).ToList();
        return steps.Count <= MaxSteps ? steps : throw new InvalidDataException(CheckpointFault.TooManySteps("pre_tokenizer", MaxSteps));
    }

    private static IEnumerable<WordSplitStep> Steps(JsonElement json) => json.ValueKind == JsonValueKind.Null ? [] : TokenizerFile.Text(json, "type") switch
    {
        "Sequence" => TokenizerFile.Member(json, "pretokenizers", JsonValueKind.Array).EnumerateArray().SelectMany(Steps),
        "WhitespaceSplit" => [new Whitespace()],
        "Metaspace" => [MetaspaceFromJson(json)],
        var other => throw new InvalidDataException(
            $"pre-tokenizer \"{other}\" is not supported (Sequence, WhitespaceSplit and Metaspace are)"),
    };

    private static Metaspace MetaspaceFromJson(JsonElement json)
    {
        if (TokenizerFile.Text(json, "replacement") is not [var mark])
            throw new InvalidDataException("the Metaspace replacement is not one character");
        // Older files have add_prefix_space instead of prepend_scheme.
        var scheme = json.TryGetProperty("prepend_scheme", out _)
            ? TokenizerFile.Text(json, "prepend_scheme")
            : TokenizerFile.Flag(json, "add_prefix_space", otherwise: true) ? "always" : "never";
        var prefix = scheme switch
        {
            "always" => PrefixScheme.Always,
            "first" => PrefixScheme.First,
            "never" => PrefixScheme.Never,
            _ => throw new InvalidDataException($"Metaspace prepend_scheme \"{scheme}\" is not always, first or never"),
        };
        return new Metaspace(mark, prefix, TokenizerFile.Flag(json, "split", otherwise: true));
    }

    /// <summary>Words to which a missing leading mark is added.</summary>
    public enum PrefixScheme
    {
        Always,
        First,
        Never,
    }

    /// <summary>Splits at white space and removes it.</summary>
    public sealed record Whitespace : WordSplitStep
    {
        public override IEnumerable<(string Word, bool OpensText)> Split(string word, bool opensText)
        {
            for (var start = 0; start < word.Length;)
            {
                var end = start;
                while (end < word.Length && !char.IsWhiteSpace(word[end]))
                    end++;
                if (end > start)
                    yield return (word[start..end], opensText && start == 0);
                start = end + 1;
            }
        }
    }

    /// <summary>Replaces spaces by a visible mark and splits before each mark.</summary>
    public sealed record Metaspace(char Mark, PrefixScheme Prefix, bool Splits) : WordSplitStep
    {
        public override IEnumerable<(string Word, bool OpensText)> Split(string word, bool opensText)
        {
            var marked = word.Replace(' ', Mark);
            var wantsPrefix = Prefix == PrefixScheme.Always || (Prefix == PrefixScheme.First && opensText);
            if (wantsPrefix && marked[0] != Mark)
                marked = Mark + marked;
            for (var start = 0; start < marked.Length;)
            {
                var next = Splits ? marked.IndexOf(Mark, start + 1) : -1;
                var end = next < 0 ? marked.Length : next;
                yield return (marked[start..end], opensText && start == 0);
                start = end;
            }
        }
    }
}
