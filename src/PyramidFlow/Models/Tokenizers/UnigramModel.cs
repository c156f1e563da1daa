using System.Text;

namespace PyramidFlow.Models.Tokenizers;

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
