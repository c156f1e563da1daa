namespace PyramidFlow.Models;

/// <summary>
/// Sizes of one packed stage and who attends to whom: text, then history clips (oldest first), then the noisy unit. Numbers
/// only; a <see cref="SequenceLayout"/> adds tables and masks.
/// </summary>
/// <param name="Rows">Rows of the batch.</param>
/// <param name="TextLength">Text tokens: as many as the longest row has.</param>
/// <param name="Clips">Sizes of the clips, the noisy unit last; at least one.</param>
/// <param name="Causal">Whether a latent frame attends to itself and earlier ones only.</param>
public sealed record SequenceShape(int Rows, int TextLength, IReadOnlyList<ClipSize> Clips, bool Causal)
{
    /// <summary>The noisy unit.</summary>
    public ClipSize Unit => Clips[^1];

    /// <summary>All tokens.</summary>
    public long Length => FrameEnds[^1];

    /// <summary>Tokens of text and history, which come before the noisy unit.</summary>
    public long PrefixLength => Length - Unit.Tokens;

    /// <summary>Where each latent frame ends in the sequence; text belongs to the first one.</summary>
    public IReadOnlyList<long> FrameEnds { get; } = FindFrameEnds(TextLength, Clips);

    /// <summary>
    /// The ranges of queries that see the same keys: tokens [Start, End) see tokens [0, Keys). Only the part within
    /// [first, first + count).
    /// </summary>
    public IEnumerable<(long Start, long End, long Keys)> Ranges(long first, long count)
    {
        if (!Causal)
        {
            yield return (first, first + count, Length);
            yield break;
        }

        var start = 0L;
        foreach (var end in FrameEnds)
        {
            var (from, to) = (Math.Max(start, first), Math.Min(end, first + count));
            if (from < to)
                yield return (from, to, end);
            start = end;
        }
    }

    /// <summary>How many pairs of a query within [first, first + count) and a key that it sees there are.</summary>
    public long Pairs(long first, long count) => Ranges(first, count).Sum(range => (range.End - range.Start) * range.Keys);

    private static long[] FindFrameEnds(int textLength, IReadOnlyList<ClipSize> clips)
    {
        if (clips.Count == 0)
            throw new ArgumentException("a stage needs at least the noisy unit", nameof(clips));
        var ends = new List<long>();
        var end = (long)textLength;
        foreach (var clip in clips)
        {
            for (var frame = 0L; frame < clip.Time; frame++)
                ends.Add(end += clip.FrameTokens);
        }

        return [.. ends];
    }
}
