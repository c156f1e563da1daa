namespace PyramidFlow.Models.Tokenizers;

/// <summary>Token ids of one text, ready for a text encoder.</summary>
/// <param name="Ids">Token ids, the end token included; padded when padding was asked for.</param>
/// <param name="Length">How many of <paramref name="Ids"/> are text and special tokens, not padding.</param>
/// <param name="FullLength">The length the text would have had without a limit.</param>
public sealed record Tokenized(long[] Ids, int Length, int FullLength)
{
    /// <summary>Whether the end of the text was cut off.</summary>
    public bool Truncated => FullLength > Length;

    /// <summary>1 for each token, 0 for each padding position; as long as <see cref="Ids"/>.</summary>
    public long[] AttentionMask()
    {
        var mask = new long[Ids.Length];
        Array.Fill(mask, 1, 0, Length);
        return mask;
    }

    /// <summary>Puts special tokens around a text's ids, keeping the end token when the text must be cut.</summary>
    internal static Tokenized Build(List<int> text, int? start, int end, int pad, int maxLength, bool padded)
    {
        var special = start is null ? 1 : 2;
        ArgumentOutOfRangeException.ThrowIfLessThan(maxLength, special);
        var kept = Math.Min(text.Count, maxLength - special);
        var length = kept + special;
        var ids = new long[padded ? maxLength : length];
        var next = 0;
        if (start is { } first)
            ids[next++] = first;
        for (var i = 0; i < kept; i++)
            ids[next++] = text[i];
        ids[next++] = end;
        Array.Fill(ids, pad, next, ids.Length - next);
        return new Tokenized(ids, length, text.Count + special);
    }
}
