namespace PyramidFlow.Training.Data.Checking;

/// <summary>Lengths of captions in tokens of the model's T5.</summary>
/// <param name="Shortest">The fewest.</param>
/// <param name="Median">Half of the captions have no more.</param>
/// <param name="Longest">The most.</param>
/// <param name="Limit">Tokens the model reads.</param>
/// <param name="Cut">Captions that are longer than that.</param>
public sealed record CaptionLengths(int Shortest, int Median, int Longest, int Limit, int Cut)
{
    /// <summary>Of some lengths; null when there are none.</summary>
    internal static CaptionLengths? Of(IEnumerable<int> lengths, int limit)
    {
        int[] sorted = [.. lengths.Order()];
        return sorted.Length == 0 ? null
            : new CaptionLengths(sorted[0], sorted[(sorted.Length - 1) / 2], sorted[^1], limit, sorted.Count(length => length > limit));
    }
}
