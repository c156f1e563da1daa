using System.Globalization;
using System.Text;
using System.Text.Json;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;

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

/// <summary>
/// Byte-level BPE with an end-of-word mark, as in CLIP. Symbols of the vocabulary are numbered by their ids, symbols that only occur
/// in merges by numbers above.
/// </summary>
internal sealed class BytePairModel
{
    /// <summary>Mark on the last symbol of a word.</summary>
    public const string EndOfWord = "</w>";

    // The released tokenizer reads this number of merges: 49152 - 256 - 2.
    private const int MaxMerges = 48894;

    private readonly Dictionary<string, int> symbols;
    private readonly int vocabularySize;
    private readonly int unknownId;
    private readonly Dictionary<long, (int Rank, int Merged)> merges = [];
    private readonly int[] bytes = new int[256];
    private readonly int[] lastBytes = new int[256];

    /// <summary>Builds the model.</summary>
    /// <param name="vocabulary">Ids by symbol; the model takes ownership.</param>
    /// <param name="mergeLines">Merges in order of rank: two symbols separated by a space.</param>
    /// <param name="unknownToken">Token for symbols outside the vocabulary.</param>
    public BytePairModel(Dictionary<string, int> vocabulary, IEnumerable<string> mergeLines, string unknownToken)
    {
        if (!vocabulary.TryGetValue(unknownToken, out unknownId))
            throw new InvalidDataException($"vocab.json has no {unknownToken}");
        symbols = vocabulary;
        vocabularySize = vocabulary.Values.Max() + 1;
        NextSymbol = vocabularySize;
        var characters = ByteAlphabet.Characters();
        for (var b = 0; b < 256; b++)
        {
            bytes[b] = Symbol(characters[b].ToString());
            lastBytes[b] = Symbol(characters[b] + EndOfWord);
        }

        var rank = 0;
        foreach (var line in mergeLines.Take(MaxMerges))
        {
            var space = line.IndexOf(' ', StringComparison.Ordinal);
            if (space <= 0 || space == line.Length - 1 || line.IndexOf(' ', space + 1) >= 0)
                throw new InvalidDataException($"merge {rank + 1}, \"{line}\", is not two symbols with a space between");
            var left = line[..space];
            var right = line[(space + 1)..];
            merges[Pair(Symbol(left), Symbol(right))] = (rank++, Symbol(left + right));
        }
    }

    /// <summary>Largest id + 1.</summary>
    public int VocabularySize => vocabularySize;

    private int NextSymbol { get; set; }

    /// <summary>Id of a symbol of the vocabulary, or null.</summary>
    public int? Id(string symbol) => symbols.TryGetValue(symbol, out var id) && id < vocabularySize ? id : null;

    /// <summary>
    /// Appends the ids of a word. The pair of lowest rank is merged at all its positions from left to right, until no pair is left.
    /// Takes O(n log n) for n bytes.
    /// </summary>
    public void Encode(string word, List<int> ids)
    {
        var text = Encoding.UTF8.GetBytes(word);
        var parts = new int[text.Length];
        var next = new int[text.Length];
        var previous = new int[text.Length];
        for (var i = 0; i < text.Length; i++)
        {
            parts[i] = i == text.Length - 1 ? lastBytes[text[i]] : bytes[text[i]];
            next[i] = i + 1;
            previous[i] = i - 1;
        }

        Merge(parts, next, previous);
        for (var i = 0; i < parts.Length; i = next[i])
            ids.Add(parts[i] < vocabularySize ? parts[i] : unknownId);
    }

    private void Merge(int[] parts, int[] next, int[] previous)
    {
        var queue = new PriorityQueue<(int At, int Merged, long Pair), long>();
        // Pairs that arise while one rank is merged wait until all positions of that rank are done.
        var found = new List<int>();
        var rank = -1L;
        for (var i = 0; i + 1 < parts.Length; i++)
            found.Add(i);
        while (true)
        {
            if (!queue.TryPeek(out _, out var priority) || priority >> 32 != rank)
            {
                foreach (var at in found)
                    Offer(at);
                found.Clear();
                if (!queue.TryPeek(out _, out priority))
                    return;
                rank = priority >> 32;
            }

            var (left, merged, pair) = queue.Dequeue();
            var right = next[left];
            if (parts[left] < 0 || right >= parts.Length || Pair(parts[left], parts[right]) != pair)
                continue;
            parts[left] = merged;
            parts[right] = -1;
            next[left] = next[right];
            if (next[left] < parts.Length)
                previous[next[left]] = left;
            found.Add(left);
            if (previous[left] >= 0)
                found.Add(previous[left]);
        }

        void Offer(int at)
        {
            if (parts[at] < 0 || next[at] >= parts.Length)
                return;
            var pair = Pair(parts[at], parts[next[at]]);
            if (merges.TryGetValue(pair, out var merge))
                queue.Enqueue((at, merge.Merged, pair), ((long)merge.Rank << 32) | (uint)at);
        }
    }

    private int Symbol(string text)
    {
        if (!symbols.TryGetValue(text, out var symbol))
            symbols[text] = symbol = NextSymbol++;
        return symbol;
    }

    private static long Pair(int left, int right) => ((long)left << 32) | (uint)right;

    /// <summary>Reads <c>vocab.json</c>: one object that maps symbols to ids.</summary>
    public static Dictionary<string, int> ReadVocabulary(byte[] json)
    {
        var vocabulary = new Dictionary<string, int>(StringComparer.Ordinal);
        using var document = TokenizerFile.Json(json);
        foreach (var symbol in document.RootElement.EnumerateObject())
        {
            if (symbol.Value.ValueKind != JsonValueKind.Number || !symbol.Value.TryGetInt32(out var id) || id is < 0 or > 1 << 24)
                throw new InvalidDataException($"the id of \"{symbol.Name}\" is not a whole number that a token may have");
            vocabulary[symbol.Name] = id;
        }

        return vocabulary.Count > 0 ? vocabulary : throw new InvalidDataException("it has no entries");
    }

    /// <summary>Reads <c>merges.txt</c>: a version line, then one merge per line.</summary>
    public static string[] ReadMerges(byte[] text)
    {
        var lines = StrictText.Decode(text).Trim().Split('\n', MaxMerges + 2);
        if (lines.Length > MaxMerges + 1)
            lines = lines[..^1];
        for (var i = 0; i < lines.Length; i++)
            lines[i] = lines[i].TrimEnd('\r');
        return lines[1..];
    }
}

/// <summary>
/// The printable character for each byte in a byte-level BPE vocabulary (GPT-2's table): printable Latin-1 characters stand for
/// themselves, the other bytes get the characters from U+0100 in byte order.
/// </summary>
internal static class ByteAlphabet
{
    /// <summary>Character of each byte value.</summary>
    public static char[] Characters()
    {
        var characters = new char[256];
        var next = '\u0100';
        for (var b = 0; b < 256; b++)
            characters[b] = b is (>= '!' and <= '~') or (>= '¡' and <= '¬') or (>= '®' and <= 'ÿ') ? (char)b : next++;
        return characters;
    }

    /// <summary>Byte values in CLIP's order: the printable ones, then the others.</summary>
    public static IEnumerable<byte> InVocabularyOrder()
    {
        var characters = Characters();
        return Enumerable.Range(0, 256).OrderBy(b => characters[b] >= '\u0100').Select(b => (byte)b);
    }
}
