using System.Runtime.InteropServices;

namespace PyramidFlow.Models.Tokenizers;

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
