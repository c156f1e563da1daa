using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Attention over a <see cref="SequenceLayout"/>: every token attends to the text and, where the layout is causal, to the latent
/// frames up to its own. It never computes the [n, n] scores of a long sequence at once.
/// </summary>
public static class BlockCausalAttention
{
    /// <summary>Attends with the tokens from <paramref name="first"/> on.</summary>
    /// <param name="q">Queries of tokens first, first + 1, ...: [heads, b, nq, head].</param>
    /// <param name="parts">Keys and values of tokens 0, 1, ..., at least up to the last query; the first part holds all text.</param>
    /// <param name="layout">Who attends to whom.</param>
    /// <param name="first">Place of the first query in the sequence.</param>
    /// <returns>[b, nq, heads * head].</returns>
    internal static Tensor Forward(Tensor q, IReadOnlyList<KeyValues> parts, SequenceLayout layout, long first)
    {
        if (FusedAttention.HasVectors(q) && (!layout.HasPadding || layout.TextLengths?.Contains(0) == false))
        {
            using var scope = new TensorScope();
            var padding = layout is { HasPadding: true, TextLengths: { } each } ? new TextPadding(each, layout.TextLength, parts[0].HasPaddingFirst) : null;
            // Short sequences have one part, so that a clip is the same to the bit whether its history comes from a cache.
            if (parts.Count > 1 && layout.Length <= layout.Settings.WholeUpTo)
                parts = [KeyValues.Joined(parts)];
            if (ChunkedAttention.Fused(q, [.. parts.Select(part => part.Keys)], [.. parts.Select(part => part.Values)], Ranges(layout, first, q.Size(2), 0), padding) is { } all)
                return scope.Keep(all);
        }

        if (layout.Length <= layout.Settings.WholeUpTo && !parts[0].HasPaddingFirst)
        {
            using var scope = new TensorScope();
            var (k, v) = KeyValues.Join(parts);
            var bias = layout.WholeBias(q.Type).Narrow(1, first, q.Size(2)).Narrow(2, 0, k.Size(2));
            return scope.Keep(Attend(q, k, v, bias, q.Size(2)));
        }

        return layout is { HasPadding: true, TextLengths: { } words }
            ? AttendWords(q, parts, layout, first, words)
            : AttendRanges(q, parts, layout, first, layout.HasPadding ? layout.KeyBias(q.Type) : null);
    }

    /// <summary>[b, n, heads, head] to [heads, b, n, head], each head's rows together. On a GPU the fused operator takes heads as they lie.</summary>
    internal static Tensor HeadsFirst(Tensor x)
    {
        var heads = x.Permute(2, 0, 1, 3);
        return HasFusedOperator(x) ? heads : heads.Contiguous();
    }

    // Attention without a mask is much faster: rows with equally many words are computed together, on keys without the padding.
    private static Tensor AttendWords(Tensor q, IReadOnlyList<KeyValues> parts, SequenceLayout layout, long first, IReadOnlyList<int> words)
    {
        using var scope = new TensorScope();
        var rows = new List<Tensor>();
        foreach (var (row, length) in words.Index())
        {
            using var inner = new TensorScope();
            var padding = layout.TextLength - length;
            var seen = parts.Select(part => part.Rows(row, words.Count)).ToList();
            if (padding > 0)
                seen = [.. seen[0].WithoutPadding(padding, layout.TextLength), .. seen.Skip(1)];
            rows.Add(inner.Keep(AttendRanges(q.Slice(1, row, q.Size(1), words.Count), seen, layout, first, null, padding)));  // [b / lengths, nq, heads * head]
        }

        return scope.Keep(Tensor.Stack([.. rows], 1).Flatten(0, 1));                         // [b, nq, heads * head]
    }

    // Queries with the same keys at a time. `absent` text tokens are missing from the keys.
    private static Tensor AttendRanges(Tensor q, IReadOnlyList<KeyValues> parts, SequenceLayout layout, long first, Tensor? bias, long absent = 0)
    {
        using var scope = new TensorScope();
        var ranges = Ranges(layout, first, q.Size(2), absent);
        if (bias is null && ChunkedAttention.Fused(q, [.. parts.Select(part => part.Keys)], [.. parts.Select(part => part.Values)], ranges) is { } fused)
            return scope.Keep(fused);
        var (k, v) = KeyValues.Join(parts);
        var results = new List<Tensor>();
        foreach (var (start, count, visible) in ranges)
        {
            using var inner = new TensorScope();
            var (some, seenKeys, seenValues, seenBias) = (q.Narrow(2, start, count), k.Narrow(2, 0, visible), v.Narrow(2, 0, visible), bias?.Narrow(2, 0, visible));
            results.Add(inner.Keep(Attend(some, seenKeys, seenValues, seenBias, layout.Settings.QueryBlock)));
        }

        return scope.Keep(results.Count == 1 ? results[0] : Tensor.Cat([.. results], 1));
    }

    private static AttentionRange[] Ranges(SequenceLayout layout, long first, long count, long absent) =>
        [.. layout.Shape.Ranges(first, count).Select(range => new AttentionRange(range.Start - first, range.End - range.Start, range.Keys - absent))];

    private static bool HasFusedOperator(Tensor q) => q.Device.Type == DeviceType.Cuda && Tensor.HasScaledDotProductAttention;

    // q [heads, b, nq, head], k and v [heads, b, nk, head], bias [1 or b, 1 or nq, nk]: to [b, nq, heads * head].
    private static Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? bias, long block) => HasFusedOperator(q)
        ? q.Transpose(0, 1).ScaledDotProductAttention(k.Transpose(0, 1), v.Transpose(0, 1), bias?.Unsqueeze(1)).Transpose(1, 2).Flatten(2)
        : ChunkedAttention.Forward(q, k, v, bias, block);
}

/// <summary>How attention trades speed for memory; the result is the same.</summary>
public sealed record AttentionSettings
{
    /// <summary>Sequences up to this many tokens are computed in one masked call: fewer, larger operations.</summary>
    public int WholeUpTo { get; init; } = 256;

    /// <summary>Queries at a time in longer sequences: the scores take heads x this x tokens numbers.</summary>
    public int QueryBlock { get; init; } = 256;

    /// <summary>The processes that divide the heads among them; null is this one alone.</summary>
    internal HeadSharing? Heads { get; init; }

    /// <summary>The same with other blocks of queries, in which short sequences are done too.</summary>
    internal AttentionSettings InBlocksOf(int queries) => this with { QueryBlock = queries, WholeUpTo = Math.Min(WholeUpTo, queries) };
}

/// <summary>Keys and values of neighbouring tokens in one block.</summary>
/// <param name="Keys">Rotated keys, [heads, b, n, head].</param>
/// <param name="Values">Values, likewise.</param>
/// <param name="HasPaddingFirst">Whether padding stands before the words of the text, so that words and frames are neighbours; else it stands behind them.</param>
internal readonly record struct KeyValues(Tensor Keys, Tensor Values, bool HasPaddingFirst = false)
{
    /// <summary>Tokens.</summary>
    internal long Length => Keys.Size(2);

    /// <summary>Rows first, first + step, ..., as views.</summary>
    internal KeyValues Rows(int first, int step) =>
        step == 1 ? this : this with { Keys = Keys.Slice(1, first, Keys.Size(1), step), Values = Values.Slice(1, first, Keys.Size(1), step) };

    /// <summary>Consecutive rows, as views.</summary>
    internal KeyValues RowRange(long first, long count) => this with { Keys = Keys.Narrow(1, first, count), Values = Values.Narrow(1, first, count) };

    /// <summary>Consecutive tokens, as views.</summary>
    internal KeyValues Tokens(long first, long count) => this with { Keys = Keys.Narrow(2, first, count), Values = Values.Narrow(2, first, count) };

    /// <summary>The tokens without padding, in one or two parts.</summary>
    /// <param name="padding">Tokens of padding.</param>
    /// <param name="text">Tokens of text with padding, which come first.</param>
    internal IEnumerable<KeyValues> WithoutPadding(int padding, int text)
    {
        if (HasPaddingFirst)
            return [Tokens(padding, Length - padding)];
        return Length == text ? [Tokens(0, text - padding)] : [Tokens(0, text - padding), Tokens(text, Length - text)];
    }

    /// <summary>Parts after one another, as one.</summary>
    internal static KeyValues Joined(IReadOnlyList<KeyValues> parts)
    {
        var (keys, values) = Join(parts);
        return parts[0] with { Keys = keys, Values = values };
    }

    /// <summary>Parts after one another.</summary>
    internal static (Tensor Keys, Tensor Values) Join(IReadOnlyList<KeyValues> parts) => parts.Count == 1
        ? (parts[0].Keys, parts[0].Values)
        : (Tensor.Cat([.. parts.Select(part => part.Keys)], 2), Tensor.Cat([.. parts.Select(part => part.Values)], 2));
}

/// <summary>
/// One pass through the blocks over the tokens of a layout from <paramref name="first"/> on. It supplies the keys and values of earlier tokens, so
/// that the joint, the prefix and the unit pass share one implementation.
/// </summary>
/// <param name="layout">The whole sequence.</param>
/// <param name="first">The first token of the pass.</param>
/// <param name="before">Keys and values of the tokens before it, block by block; null when it starts at 0.</param>
/// <param name="record">Takes the keys and values of each block; null where they are not needed.</param>
internal sealed class BlockPass(SequenceLayout layout, long first,
    IReadOnlyList<IReadOnlyList<KeyValues>>? before = null, Action<int, KeyValues>? record = null)
{
    private readonly HeadSharing? sharing = layout.Settings.Heads;
    private IReadOnlyList<long> sections = [];
    private IReadOnlyList<long> outputSections = [];
    private int blocks;
    private int block;

    /// <summary>Takes this process's share of the tokens, where several processes divide the heads.</summary>
    /// <param name="text">Text tokens, [b, l, d]; null where the text takes no part.</param>
    /// <param name="x">Picture tokens, [b, n, d].</param>
    /// <param name="outputs">Number of tokens at the end whose output is wanted; null for none.</param>
    /// <param name="count">Number of blocks that will run; the last one has queries for the outputs only.</param>
    internal (Tensor? Text, Tensor X, long? Outputs) Divide(Tensor? text, Tensor x, long? outputs, int count)
    {
        if (sharing is null)
            return (text, x, outputs);
        long[] picture = [x.Size(1) - (outputs ?? 0), outputs ?? 0];
        blocks = count;
        outputSections = picture[1..];
        sections = text is null ? picture : [text.Size(1), .. picture];
        return (text is null ? null : sharing.Own(text, text.Size(1)), sharing.Own(x, picture), outputs is null ? null : sharing.OwnLength(outputSections));
    }

    /// <summary>Whether a block can run a second time with the same result: the pass neither reads nor records keys and values.</summary>
    internal bool CanRepeat => before is null && record is null;

    /// <summary>Attention of one block; blocks call it in order.</summary>
    /// <param name="q">Queries of the last tokens of this pass, [b, nq, heads, head]; null where only keys are wanted.</param>
    /// <param name="k">Keys of all its tokens before the rotation, [b, n, heads, head].</param>
    /// <param name="v">Values, likewise.</param>
    /// <returns>[b, nq, d]; null without queries.</returns>
    internal Tensor? Attend(Tensor? q, Tensor k, Tensor v)
    {
        using var scope = new TensorScope();
        var (heads, querySections) = (k.Size(2), block == blocks - 1 ? outputSections : sections);
        if (sharing is not null)
            (q, k, v) = sharing.ToHeads(q, k, v, sections, querySections);
        var own = new KeyValues(BlockCausalAttention.HeadsFirst(Turn(k, first)), BlockCausalAttention.HeadsFirst(v));
        record?.Invoke(block, own);
        IReadOnlyList<KeyValues> parts = before is null ? [own] : [.. before[block], own];
        block++;
        if (q is null)
            return null;
        var start = parts.Sum(part => part.Length) - q.Size(1);
        var attended = BlockCausalAttention.Forward(BlockCausalAttention.HeadsFirst(Turn(q, start)), parts, layout, start);
        return scope.Keep(sharing?.ToTokens(attended, heads, querySections) ?? attended);
    }

    private Tensor Turn(Tensor x, long from) => layout.Rotary?.Apply(x, from) ?? x;
}
