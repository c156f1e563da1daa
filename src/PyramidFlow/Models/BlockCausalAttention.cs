using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Attention over a <see cref="SequenceLayout"/>: every token attends to the text and, where the layout is causal, to the latent
/// frames up to its own. It never computes the [n, n] scores of a long sequence at once.
/// </summary>
public static class BlockCausalAttention
{
    /// <summary>Attends with the tokens from <paramref name="first"/> on.</summary>
    /// <param name="q">Queries of tokens first, first + 1, ...: [b, nq, heads, head].</param>
    /// <param name="keys">Keys of tokens 0, 1, ..., at least up to the last query, in parts [b, n, heads, head], of which the first holds all text.</param>
    /// <param name="values">Values, shaped like the keys.</param>
    /// <param name="layout">Who attends to whom.</param>
    /// <param name="first">Place of the first query in the sequence.</param>
    /// <returns>[b, nq, heads * head].</returns>
    public static Tensor Forward(Tensor q, IReadOnlyList<Tensor> keys, IReadOnlyList<Tensor> values, SequenceLayout layout, long first)
    {
        if (layout.Length <= layout.Settings.WholeUpTo)
        {
            using var scope = new TensorScope();
            var (k, v) = (HeadsFirst(keys), HeadsFirst(values));
            var bias = layout.WholeBias(q.Type).Narrow(1, first, q.Size(1)).Narrow(2, 0, k.Size(2));
            return scope.Keep(Attend(HeadsFirst([q]), k, v, bias, q.Size(1)));
        }

        return layout is { HasPadding: true, TextLengths: { } words }
            ? AttendWords(q, keys, values, layout, first, words)
            : AttendRanges(q, keys, values, layout, first, layout.HasPadding ? layout.KeyBias(q.Type) : null);
    }

    // Attention without a mask is much faster: rows with equally many words are computed together, on keys without the padding.
    private static Tensor AttendWords(Tensor q, IReadOnlyList<Tensor> k, IReadOnlyList<Tensor> v, SequenceLayout layout, long first, IReadOnlyList<int> words)
    {
        using var scope = new TensorScope();
        var rows = new List<Tensor>();
        foreach (var (row, length) in words.Index())
        {
            using var inner = new TensorScope();
            var padding = layout.TextLength - length;
            rows.Add(inner.Keep(AttendRanges(Rows(q), Seen(k), Seen(v), layout, first, null, padding)));   // [b / lengths, nq, heads * head]

            Tensor Rows(Tensor x) => x.Slice(0, row, q.Size(0), words.Count);

            List<Tensor> Seen(IReadOnlyList<Tensor> parts)
            {
                var all = parts.Select(Rows).ToList();
                return padding == 0 ? all
                    : [all[0].Narrow(1, 0, length), all[0].Narrow(1, layout.TextLength, all[0].Size(1) - layout.TextLength), .. all.Skip(1)];
            }
        }

        return scope.Keep(Tensor.Stack([.. rows], 1).Flatten(0, 1));                         // [b, nq, heads * head]
    }

    // Queries with the same keys at a time. `absent` text tokens are missing from the keys.
    private static Tensor AttendRanges(Tensor q, IReadOnlyList<Tensor> keys, IReadOnlyList<Tensor> values, SequenceLayout layout, long first,
        Tensor? bias, long absent = 0)
    {
        using var scope = new TensorScope();
        var (queries, k, v) = (HeadsFirst([q]), HeadsFirst(keys), HeadsFirst(values));
        AttentionRange[] ranges = [.. layout.Shape.Ranges(first, q.Size(1))
            .Select(range => new AttentionRange(range.Start - first, range.End - range.Start, range.Keys - absent))];
        if (bias is null && ChunkedAttention.Fused(queries, k, v, ranges) is { } fused)
            return scope.Keep(fused);
        var parts = new List<Tensor>();
        foreach (var (start, count, visible) in ranges)
        {
            using var inner = new TensorScope();
            var (some, seenKeys, seenValues, seenBias) = (queries.Narrow(2, start, count), k.Narrow(2, 0, visible), v.Narrow(2, 0, visible), bias?.Narrow(2, 0, visible));
            parts.Add(inner.Keep(Attend(some, seenKeys, seenValues, seenBias, layout.Settings.QueryBlock)));
        }

        return scope.Keep(parts.Count == 1 ? parts[0] : Tensor.Cat([.. parts], 1));
    }

    private static bool HasFusedOperator(Tensor q) => q.Device.Type == DeviceType.Cuda && Tensor.HasScaledDotProductAttention;

    // Parts [b, n, heads, head] after one another, each head's rows together: [heads, b, n, head]. On a GPU the fused
    // operator takes heads as they lie.
    private static Tensor HeadsFirst(IReadOnlyList<Tensor> parts)
    {
        if (HasFusedOperator(parts[0]))
            return (parts.Count == 1 ? parts[0] : Tensor.Cat([.. parts], 1)).Permute(2, 0, 1, 3);
        return parts.Count == 1 ? parts[0].Permute(2, 0, 1, 3).Contiguous() : Tensor.Cat([.. parts.Select(part => part.Permute(2, 0, 1, 3))], 2);
    }

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

    /// <summary>The same with other blocks of queries, in which short sequences are done too.</summary>
    internal AttentionSettings InBlocksOf(int queries) => this with { QueryBlock = queries, WholeUpTo = Math.Min(WholeUpTo, queries) };
}

/// <summary>
/// One pass through the blocks over the tokens of a layout from <paramref name="first"/> on. It supplies the keys and values of earlier tokens, so
/// that the joint, the prefix and the unit pass share one implementation.
/// </summary>
/// <param name="layout">The whole sequence.</param>
/// <param name="first">The first token of the pass.</param>
/// <param name="before">Keys and values of the tokens before it, block by block; null when it starts at 0.</param>
/// <param name="record">Collects the keys and values of this pass; null where they are not needed.</param>
internal sealed class BlockPass(SequenceLayout layout, long first,
    IReadOnlyList<(Tensor Keys, Tensor Values)>? before = null, List<(Tensor Keys, Tensor Values)>? record = null)
{
    private int block;

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
        k = Turn(k, first);
        record?.Add((TensorScope.Release(k), TensorScope.Release(v)));
        Tensor[] keys = before is null ? [k] : [before[block].Keys, k];
        Tensor[] values = before is null ? [v] : [before[block].Values, v];
        block++;
        if (q is null)
            return null;
        var start = keys.Sum(part => part.Size(1)) - q.Size(1);
        return scope.Keep(BlockCausalAttention.Forward(Turn(q, start), keys, values, layout, start));
    }

    private Tensor Turn(Tensor x, long from) => layout.Rotary?.Apply(x, from) ?? x;
}
