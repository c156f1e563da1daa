using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// T5's tokenizer: a SentencePiece unigram model with compiled Unicode normalisation. Gives the ids of the fast T5
/// tokenizer the released system uses. Safe to share between threads.
/// </summary>
public sealed class T5Tokenizer
{
    /// <summary>Length the released system pads and cuts T5 prompts to.</summary>
    public const int DefaultMaxLength = 128;

    // The longest replacement that Unicode's normalisation knows has 18 characters.
    private const int MostGrowth = 32, Room = 1024;

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

    /// <summary>Id of the token that ends every text, <c>&lt;/s&gt;</c>.</summary>
    public int EndId { get; }

    /// <summary>Id of text that no piece covers, <c>&lt;unk&gt;</c>.</summary>
    public int UnknownId => definition.UnknownId;

    /// <summary>One more than the greatest id; an embedding table needs at least so many rows.</summary>
    public int VocabularySize { get; }

    /// <summary>Loads a tokenizer folder: <c>tokenizer.json</c> if it is there, else <c>spiece.model</c>.</summary>
    /// <param name="folder">The folder, e.g. <c>tokenizer_2</c> of a released checkpoint.</param>
    /// <exception cref="CheckpointException">Neither file is there, or one is damaged or of another kind.</exception>
    public static T5Tokenizer Load(string folder)
    {
        var json = Path.Combine(folder, "tokenizer.json");
        var model = Path.Combine(folder, "spiece.model");
        var settings = TokenizerFile.ReadSettings(Path.Combine(folder, "tokenizer_config.json"));
        if (File.Exists(json))
            return TokenizerFile.Read(json, bytes => new T5Tokenizer(json, T5JsonReader.Parse(bytes), settings));
        if (File.Exists(model))
            return TokenizerFile.Read(model, bytes => new T5Tokenizer(model, T5SentencePieceReader.Parse(bytes, settings), settings));
        throw new CheckpointException($"{folder} has neither tokenizer.json nor spiece.model: it is not a T5 tokenizer folder");
    }

    /// <summary>Tokenises a text and ends it with <c>&lt;/s&gt;</c>, which stays when the text is cut.</summary>
    /// <param name="text">Any text; the empty text gives the end token alone.</param>
    /// <param name="maxLength">Most ids to give, the end token included; at least 1.</param>
    /// <param name="pad">Whether to fill up with the padding token to <paramref name="maxLength"/>.</param>
    /// <exception cref="CheckpointException">The tokenizer's rules make far more of the text than any real ones do.</exception>
    public Tokenized Encode(string text, int maxLength = DefaultMaxLength, bool pad = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        var ids = new List<int>();
        foreach (var segment in addedTokens.Split(text))
        {
            if (segment.Id >= 0)
                ids.Add(segment.Id);
            else
                EncodeText(text.Substring(segment.Start, segment.Length), segment.Start == 0, ids);
        }

        return Tokenized.Build(ids, start: null, EndId, PadId, maxLength, pad);
    }

    private void EncodeText(string text, bool opensText, List<int> ids)
    {
        var most = (int)Math.Min(Room + ((long)MostGrowth * text.Length), int.MaxValue / 4);
        text = TokenizerFile.Named(file, () => definition.Normalizer.Aggregate(text, (written, step) => step.Apply(written, most)));
        if (text.Length == 0)
            return;
        IEnumerable<(string Word, bool OpensText)> words = [(text, opensText)];
        foreach (var step in definition.WordSplit)
            words = words.SelectMany(w => step.Split(w.Word, w.OpensText));
        foreach (var (word, _) in words)
            definition.Model.Encode(word, ids);
    }
}

/// <summary>What the files of a T5 tokenizer folder say, whichever format they are in.</summary>
internal sealed record T5Definition(
    UnigramVocabulary Vocabulary,
    UnigramModel Model,
    int UnknownId,
    IReadOnlyList<NormalizerStep> Normalizer,
    IReadOnlyList<WordSplitStep> WordSplit,
    IReadOnlyList<AddedToken> AddedTokens)
{
    /// <summary>Id of a special token, an added one first.</summary>
    /// <exception cref="InvalidDataException">There is no such token.</exception>
    public int SpecialId(string content)
    {
        if (AddedTokens.FirstOrDefault(t => t.Content == content) is { } added)
            return added.Id;
        var id = Vocabulary.IndexOf(System.Text.Encoding.UTF8.GetBytes(content));
        return id >= 0 ? id : throw new InvalidDataException($"there is no token {content}");
    }
}

/// <summary>
/// Unigram language model of SentencePiece (Kudo 2018, arXiv 1804.10959): the split of a word into pieces with the
/// greatest sum of log probabilities, found by Viterbi search; ties keep the split found first.
/// </summary>
internal sealed class UnigramModel
{
    // Added to the lowest score of the vocabulary; SentencePiece's constant.
    private const double UnknownPenalty = 10.0;

    private readonly ByteTrie trie;
    private readonly double[] scores;
    private readonly int unknownId;
    private readonly double unknownScore;

    /// <summary>Builds the model.</summary>
    /// <param name="vocabulary">UTF-8 text and log probability of each piece, in id order.</param>
    /// <param name="unknownId">Id for text no piece covers.</param>
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

/// <summary>Pieces of a unigram vocabulary as UTF-8, all in one buffer, with their log probabilities.</summary>
internal sealed class UnigramVocabulary
{
    // SentencePiece cuts at 16 characters unless it is told otherwise.
    private const int MaxPieceBytes = 512;

    private readonly List<byte> text = new(1 << 18);
    private readonly List<int> ends = new(1 << 15);
    private readonly List<double> scores = new(1 << 15);

    public int Count => ends.Count;

    public ReadOnlySpan<double> Scores => CollectionsMarshal.AsSpan(scores);

    /// <summary>UTF-8 of the piece with that id.</summary>
    public ReadOnlySpan<byte> this[int id] =>
        CollectionsMarshal.AsSpan(text)[(id == 0 ? 0 : ends[id - 1])..ends[id]];

    /// <exception cref="InvalidDataException">The piece is longer than any of a vocabulary: a search would try it at every place of a text.</exception>
    public void Add(ReadOnlySpan<byte> piece, double score)
    {
        if (piece.Length > MaxPieceBytes)
            throw new InvalidDataException($"piece {Count} has {piece.Length} bytes; a piece has at most {MaxPieceBytes}");
        text.AddRange(piece);
        ends.Add(text.Count);
        scores.Add(score);
    }

    /// <summary>Id of a piece, or -1. Looks from the first id on, where the special pieces are.</summary>
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

/// <summary>Prefix tree over the UTF-8 bytes of a vocabulary's pieces.</summary>
internal sealed class ByteTrie
{
    // Edge (node, byte) -> child node; node 0 is the root.
    private readonly Dictionary<long, int> children;
    private readonly List<int> ids = [-1];

    public ByteTrie(int expectedPieces) => children = new Dictionary<long, int>(expectedPieces * 4);

    /// <summary>Adds a piece; a piece added again takes the later id.</summary>
    public void Add(ReadOnlySpan<byte> piece, int id)
    {
        var node = 0;
        foreach (var b in piece)
        {
            ref var child = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(
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
    /// <param name="node">The node; moved to its child when there is one.</param>
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
