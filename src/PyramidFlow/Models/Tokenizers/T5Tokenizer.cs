using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using PyramidFlow.Torch;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// T5's tokenizer: a SentencePiece unigram model with compiled Unicode normalisation. Gives the same ids as the fast T5 tokenizer of
/// the released system. Thread-safe.
/// </summary>
public sealed class T5Tokenizer
{
    /// <summary>Length to which the released system pads and truncates T5 prompts.</summary>
    public const int DefaultMaxLength = 128;

    // The longest replacement in Unicode normalisation has 18 characters.
    private const int MaxGrowth = 32, MinLimit = 1024;

    private readonly string file;
    private readonly T5Definition definition;
    private readonly AddedTokenSplitter addedTokens;

    private T5Tokenizer(string file, T5Definition definition, JsonElement settings)
    {
        (this.file, this.definition) = (file, definition);
        addedTokens = new AddedTokenSplitter(definition.AddedTokens);
        PadId = definition.SpecialId(TokenizerFile.SpecialToken(settings, "pad_token") ?? "<pad>");
        EndId = definition.SpecialId(TokenizerFile.SpecialToken(settings, "eos_token") ?? "</s>");
        VocabularySize = Math.Max(
            definition.Vocabulary.Count, definition.AddedTokens.Select(t => t.Id + 1).DefaultIfEmpty().Max());
    }

    /// <summary>Id of the padding token, <c>&lt;pad&gt;</c>.</summary>
    public int PadId { get; }

    /// <summary>Id of the end token, <c>&lt;/s&gt;</c>.</summary>
    public int EndId { get; }

    /// <summary>Id of unknown text, <c>&lt;unk&gt;</c>.</summary>
    public int UnknownId => definition.UnknownId;

    /// <summary>Largest id + 1; embedding tables need at least this number of rows.</summary>
    public int VocabularySize { get; }

    /// <summary>Loads a tokenizer folder: <c>tokenizer.json</c> if present, else <c>spiece.model</c>.</summary>
    /// <param name="folder">Folder, such as <c>tokenizer_2</c> of a released checkpoint.</param>
    /// <exception cref="CheckpointException">Neither file is present, or it is damaged or of another kind of tokenizer.</exception>
    public static T5Tokenizer Load(string folder)
    {
        var json = Path.Combine(folder, "tokenizer.json");
        var model = Path.Combine(folder, "spiece.model");
        var settings = TokenizerFile.ReadSettings(Path.Combine(folder, "tokenizer_config.json"));
        if (File.Exists(json))
            return TokenizerFile.Read(json, bytes => new T5Tokenizer(json, T5JsonReader.Parse(bytes), settings));
        if (File.Exists(model))
            return TokenizerFile.Read(model, bytes => new T5Tokenizer(model, T5SentencePieceReader.Parse(bytes, settings), settings));
        throw CheckpointFault.NoTokenizer(folder);
    }

    /// <summary>Tokenizes a text and appends <c>&lt;/s&gt;</c>, also if the text is truncated.</summary>
    /// <param name="text">Any text; the empty text gives only the end token.</param>
    /// <param name="maxLength">Maximum number of ids, including the end token; at least 1.</param>
    /// <param name="pad">Whether to pad to <paramref name="maxLength"/>.</param>
    /// <exception cref="CheckpointException">The tokenizer's normalisation makes the text longer than any real one does.</exception>
    public Tokenized Encode(string text, int maxLength = DefaultMaxLength, bool pad = true)
    {
        var ids = addedTokens.Encode(text, EncodeText);
        return Tokenized.Create(ids, start: null, EndId, PadId, maxLength, pad);
    }

    private void EncodeText(string text, bool opensText, List<int> ids)
    {
        var limit = (int)Math.Min(MinLimit + ((long)MaxGrowth * text.Length), int.MaxValue / 4);
        text = TokenizerFile.Named(file, () => definition.Normalizer.Aggregate(text, (written, step) => step.Apply(written, limit)));
        if (text.Length == 0)
            return;
        IEnumerable<(string Word, bool OpensText)> words = [(text, opensText)];
        foreach (var step in definition.WordSplit)
            words = words.SelectMany(w => step.Split(w.Word, w.OpensText));
        foreach (var (word, _) in words)
            definition.Model.Encode(word, ids);
    }
}

/// <summary>Content of a T5 tokenizer folder, independent of its file format.</summary>
internal sealed record T5Definition(
    UnigramVocabulary Vocabulary,
    UnigramModel Model,
    int UnknownId,
    IReadOnlyList<NormalizerStep> Normalizer,
    IReadOnlyList<WordSplitStep> WordSplit,
    IReadOnlyList<AddedToken> AddedTokens)
{
    /// <summary>Id of a special token; added tokens take precedence.</summary>
    /// <exception cref="InvalidDataException">The vocabulary has no such token.</exception>
    public int SpecialId(string content)
    {
        if (AddedTokens.FirstOrDefault(t => t.Content == content) is { } added)
            return added.Id;
        var id = Vocabulary.IndexOf(Encoding.UTF8.GetBytes(content));
        return id >= 0 ? id : throw new InvalidDataException($"there is no token {content}");
    }
}

/// <summary>
/// Unigram language model of SentencePiece (Kudo 2018, arXiv 1804.10959): splits a word into the pieces with the greatest sum of log
/// probabilities, found by Viterbi search. Of equal splits the first one found counts.
/// </summary>
internal sealed class UnigramModel
{
    // SentencePiece's constant: unknown text scores this much below the lowest score of the vocabulary.
    private const double UnknownPenalty = 10.0;

    private readonly ByteTrie trie;
    private readonly double[] scores;
    private readonly int unknownId;
    private readonly double unknownScore;

    /// <summary>Builds the model.</summary>
    /// <param name="vocabulary">Text and log probability of each piece, in id order.</param>
    /// <param name="unknownId">Id of unknown text.</param>
    public UnigramModel(UnigramVocabulary vocabulary, int unknownId)
    {
        if (unknownId < 0 || unknownId >= vocabulary.Count)
            throw new InvalidDataException($"the unknown id {unknownId} is not one of {vocabulary.Count} pieces");
        trie = new ByteTrie(vocabulary.Count);
        scores = vocabulary.Scores.ToArray();
        this.unknownId = unknownId;
        unknownScore = scores.Min() - UnknownPenalty;
        for (var id = 0; id < vocabulary.Count; id++)
        {
            if (!double.IsFinite(scores[id]))
                throw new InvalidDataException($"the score of piece {id} is not a finite number");
            if (vocabulary[id].Length > 0)
                trie.Add(vocabulary[id], id);
        }
    }

    /// <summary>Appends the ids of a word; a run of unknown characters becomes one unknown id.</summary>
    public void Encode(string word, List<int> ids)
    {
        var text = Encoding.UTF8.GetBytes(word);
        var best = new Node[text.Length + 1];
        Array.Fill(best, new Node(0, 0, -1), 1, text.Length);
        for (var start = 0; start < text.Length;)
        {
            var charLength = Utf8Length(text[start]);
            var soFar = best[start].Score;
            var covered = false;
            var node = 0;
            for (var end = start; end < text.Length && trie.Step(ref node, text[end], out var id); end++)
            {
                if (id < 0)
                    continue;
                Offer(ref best[end + 1], id, soFar + scores[id], start);
                covered |= end + 1 - start == charLength;
            }

            if (!covered)
                Offer(ref best[start + charLength], unknownId, soFar + unknownScore, start);
            start += charLength;
        }

        var first = ids.Count;
        for (var end = text.Length; end > 0; end = best[end].Start)
        {
            var id = best[end].Id;
            if (id != unknownId || ids.Count == first || ids[^1] != unknownId)
                ids.Add(id);
        }

        ids.Reverse(first, ids.Count - first);
    }

    private static void Offer(ref Node node, int id, double score, int start)
    {
        if (node.Start < 0 || score > node.Score)
            node = new Node(id, score, start);
    }

    private static int Utf8Length(byte lead) => lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;

    private readonly record struct Node(int Id, double Score, int Start);
}

/// <summary>Pieces of a unigram vocabulary as UTF-8 in one buffer, with their log probabilities.</summary>
internal sealed class UnigramVocabulary
{
    // SentencePiece limits pieces to 16 characters by default.
    private const int MaxPieceBytes = 512;

    private readonly List<byte> text = new(1 << 18);
    private readonly List<int> ends = new(1 << 15);
    private readonly List<double> scores = new(1 << 15);

    public int Count => ends.Count;

    public ReadOnlySpan<double> Scores => CollectionsMarshal.AsSpan(scores);

    /// <summary>UTF-8 text of a piece.</summary>
    public ReadOnlySpan<byte> this[int id] =>
        CollectionsMarshal.AsSpan(text)[(id == 0 ? 0 : ends[id - 1])..ends[id]];

    /// <summary>Adds a piece. Long pieces are refused, because a search would compare them at every position of a text.</summary>
    /// <exception cref="InvalidDataException">The piece is longer than any of a real vocabulary.</exception>
    public void Add(ReadOnlySpan<byte> piece, double score)
    {
        if (piece.Length > MaxPieceBytes)
            throw new InvalidDataException(CheckpointFault.PieceTooLong(Count, piece.Length, MaxPieceBytes));
        text.AddRange(piece);
        ends.Add(text.Count);
        scores.Add(score);
    }

    /// <summary>Id of a piece, or -1. Searches from the first id, where the special pieces are.</summary>
    public int IndexOf(ReadOnlySpan<byte> piece)
    {
        for (var id = 0; id < Count; id++)
        {
            if (this[id].SequenceEqual(piece))
                return id;
        }

        return -1;
    }
}

/// <summary>Prefix tree over the UTF-8 bytes of the pieces of a vocabulary.</summary>
internal sealed class ByteTrie
{
    // Edge (node, byte) -> child node; node 0 is the root.
    private readonly Dictionary<long, int> children;
    private readonly List<int> ids = [-1];

    public ByteTrie(int expectedPieces) => children = new Dictionary<long, int>(expectedPieces * 4);

    /// <summary>Adds a piece; a repeated piece takes the later id.</summary>
    public void Add(ReadOnlySpan<byte> piece, int id)
    {
        var node = 0;
        foreach (var b in piece)
        {
            ref var child = ref CollectionsMarshal.GetValueRefOrAddDefault(
                children, ((long)node << 8) | b, out var exists);
            if (!exists)
            {
                child = ids.Count;
                ids.Add(-1);
            }

            node = child;
        }

        ids[node] = id;
    }

    /// <summary>Follows one byte from a node (the root is 0).</summary>
    /// <param name="node">The node; replaced by its child if there is one.</param>
    /// <param name="b">The byte.</param>
    /// <param name="id">Id of the piece that ends at the child, or -1.</param>
    /// <returns>Whether there is such a child.</returns>
    public bool Step(ref int node, byte b, out int id)
    {
        if (!children.TryGetValue(((long)node << 8) | b, out var child))
        {
            id = -1;
            return false;
        }

        node = child;
        id = ids[child];
        return true;
    }
}
