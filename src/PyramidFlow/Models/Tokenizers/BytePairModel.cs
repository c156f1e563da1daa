using System.Text;
using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Models.Tokenizers;

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
