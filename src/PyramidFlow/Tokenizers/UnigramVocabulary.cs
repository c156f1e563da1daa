using System.Runtime.InteropServices;

namespace PyramidFlow.Tokenizers;

/// <summary>Pieces of a unigram vocabulary as UTF-8, all in one buffer, with their log probabilities.</summary>
internal sealed class UnigramVocabulary
{
    private readonly List<byte> text = new(1 << 18);
    private readonly List<int> ends = new(1 << 15);
    private readonly List<double> scores = new(1 << 15);

    public int Count => ends.Count;

    public ReadOnlySpan<double> Scores => CollectionsMarshal.AsSpan(scores);

    /// <summary>UTF-8 of the piece with that id.</summary>
    public ReadOnlySpan<byte> this[int id] =>
        CollectionsMarshal.AsSpan(text)[(id == 0 ? 0 : ends[id - 1])..ends[id]];

    public void Add(ReadOnlySpan<byte> piece, double score)
    {
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
