using System.Globalization;
using System.Text;
using System.Text.Json;
using PyramidFlow.Models.Tokenizers.Repair;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// CLIP's tokenizer: byte-level BPE over cleaned, lower-case text. Gives the same ids as the (slow) CLIP tokenizer of the released
/// system, which first repairs text with the package ftfy. Thread-safe.
/// </summary>
public sealed class ClipTokenizer
{
    /// <summary>Number of positions of CLIP's text encoders.</summary>
    public const int DefaultMaxLength = 77;

    private const string EndOfText = "<|endoftext|>";

    private readonly BytePairModel model;
    private readonly AddedTokenSplitter addedTokens;
    private readonly string[] patternSpecials;
    private readonly int startOfTextId;
    private readonly int endOfTextId;

    private ClipTokenizer(BytePairModel model, Specials specials, IEnumerable<AddedToken> added)
    {
        this.model = model;
        PadId = Required(specials.Pad);
        StartId = Required(specials.Start);
        EndId = Required(specials.End);
        patternSpecials = ["<|startoftext|>", EndOfText];
        startOfTextId = model.Id(patternSpecials[0]) ?? StartId;
        endOfTextId = model.Id(patternSpecials[1]) ?? EndId;
        List<AddedToken> known = [.. added.Concat(specials.All.Select(content => new AddedToken(Required(content), content))).DistinctBy(token => token.Content)];
        addedTokens = new AddedTokenSplitter(known);
        VocabularySize = Math.Max(model.VocabularySize, known.Max(token => token.Id) + 1);
    }

    /// <summary>Id of the padding token: the end token in CLIP-L, "!" (0) in CLIP-G.</summary>
    public int PadId { get; }

    /// <summary>Id of <c>&lt;|startoftext|&gt;</c>.</summary>
    public int StartId { get; }

    /// <summary>Id of <c>&lt;|endoftext|&gt;</c>.</summary>
    public int EndId { get; }

    /// <summary>Largest id + 1; embedding tables need at least this number of rows.</summary>
    public int VocabularySize { get; }

    /// <summary>Loads <c>vocab.json</c>, <c>merges.txt</c> and the two settings files, which name the special tokens.</summary>
    /// <param name="folder">Folder, such as <c>tokenizer</c> of a released checkpoint.</param>
    /// <exception cref="CheckpointException">A file is missing, damaged, or lacks a special token.</exception>
    public static ClipTokenizer Load(string folder)
    {
        var configFile = Path.Combine(folder, "tokenizer_config.json");
        var config = TokenizerFile.ReadSettings(configFile);
        var added = TokenizerFile.Named(configFile, () => AddedToken.FromDecoder(config));
        var map = TokenizerFile.ReadSettings(Path.Combine(folder, "special_tokens_map.json"));
        var vocabulary = TokenizerFile.Read(Path.Combine(folder, "vocab.json"), BytePairModel.ReadVocabulary);
        return TokenizerFile.Read(Path.Combine(folder, "merges.txt"), bytes =>
        {
            var merges = BytePairModel.ReadMerges(bytes);
            // Only in folders older than added_tokens_decoder does the map take precedence.
            var specials = added is null ? Specials.From(map, config) : Specials.From(config, map);
            return new ClipTokenizer(new BytePairModel(vocabulary, merges, specials.Unknown), specials, added ?? []);
        });
    }

    /// <summary>Tokenizes a text between start and end token, also if the text is truncated.</summary>
    /// <param name="text">Any text; the empty text gives only the two special tokens.</param>
    /// <param name="maxLength">Maximum number of ids, including start and end token; at least 2.</param>
    /// <param name="pad">Whether to pad to <paramref name="maxLength"/>.</param>
    public Tokenized Encode(string text, int maxLength = DefaultMaxLength, bool pad = true)
    {
        var ids = addedTokens.Encode(text, (segment, _, ids) => EncodeText(segment, ids));
        return Tokenized.Create(ids, StartId, EndId, PadId, maxLength, pad);
    }

    private void EncodeText(string text, List<int> ids)
    {
        foreach (var word in ClipText.Words(ClipText.Clean(text), patternSpecials))
        {
            // In capitals they are not added tokens, but the word pattern ignores case and keeps them whole.
            if (word == patternSpecials[0])
                ids.Add(startOfTextId);
            else if (word == patternSpecials[1])
                ids.Add(endOfTextId);
            else
                model.Encode(word, ids);
        }
    }

    private int Required(string content) =>
        model.Id(content) ?? throw new InvalidDataException($"vocab.json has no {content}");

    private sealed record Specials(string Start, string End, string Unknown, string Pad)
    {
        public IEnumerable<string> All => [Start, End, Unknown, Pad];

        public static Specials From(JsonElement first, JsonElement second)
        {
            return new Specials(Token("bos_token") ?? "<|startoftext|>", Token("eos_token") ?? EndOfText,
                Token("unk_token") ?? EndOfText, Token("pad_token") ?? EndOfText);

            string? Token(string name) =>
                TokenizerFile.SpecialToken(first, name) ?? TokenizerFile.SpecialToken(second, name);
        }
    }
}

/// <summary>
/// Text cleaning and word pattern of the released system's CLIP tokenizer: text is repaired, white space collapsed, and converted to
/// lower case.
/// </summary>
internal static class ClipText
{
    // A case-insensitive pattern matches this character in no class: it separates words and has no id.
    private const char IotaBelow = '\u0345';

    private static readonly string[] Suffixes = ["s", "t", "re", "ve", "m", "ll", "d"];

    /// <summary>Cleans a text.</summary>
    /// <returns>Lower-case words with one space between them; valid UTF-16.</returns>
    public static string Clean(string text)
    {
        var words = TextRepair.Repair(text)
            .Split(default(char[]), StringSplitOptions.RemoveEmptyEntries)
            .Select(UnicodeCase.ToLower);
        return string.Join(' ', words);
    }

    /// <summary>
    /// Splits cleaned text by CLIP's pattern: a special token, an English suffix ('s 't 're 've 'm 'll 'd), a run of
    /// letters, one digit, or a run of other characters except white space.
    /// </summary>
    public static IEnumerable<string> Words(string text, string[] specials)
    {
        for (var at = 0; at < text.Length;)
        {
            if (text[at] is ' ' or IotaBelow)
            {
                at++;
                continue;
            }

            var length = Prefix(text, at, specials) is var special and > 0 ? special
                : text[at] == '\'' && Prefix(text, at + 1, Suffixes) is var suffix and > 0 ? suffix + 1
                : RunLength(text, at);
            yield return text.Substring(at, length);
            at += length;
        }
    }

    private static int Prefix(string text, int at, string[] candidates)
    {
        foreach (var candidate in candidates)
        {
            if (StartsWith(text.AsSpan(at), candidate))
                return candidate.Length;
        }

        return 0;
    }

    // The pattern ignores case, and then the long s matches s.
    private static bool StartsWith(ReadOnlySpan<char> text, string candidate)
    {
        for (var i = 0; i < candidate.Length; i++)
        {
            if (i == text.Length || (text[i] == 'ſ' ? 's' : text[i]) != candidate[i])
                return false;
        }

        return true;
    }

    private static int RunLength(string text, int start)
    {
        var kind = KindAt(text, start, out var at);
        if (kind == Kind.Digit)
            return at;
        at += start;
        while (at < text.Length && KindAt(text, at, out var width) == kind)
            at += width;
        return at - start;
    }

    private static Kind KindAt(string text, int at, out int width)
    {
        var rune = Rune.GetRuneAt(text, at);
        width = rune.Utf16SequenceLength;
        if (rune.Value is ' ' or IotaBelow)
            return Kind.Space;
        return Rune.GetUnicodeCategory(rune) switch
        {
            UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
                or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => Kind.Letter,
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber
                or UnicodeCategory.OtherNumber => Kind.Digit,
            _ => Kind.Other,
        };
    }

    private enum Kind
    {
        Space,
        Letter,
        Digit,
        Other,
    }
}
