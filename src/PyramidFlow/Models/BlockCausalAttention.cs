using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Attention over a <see cref="SequenceLayout"/>: every token attends to the text and, where the layout is causal, to the latent
/// frames up to its own. It never computes the [n, n] scores of a long sequence at once.
/// </summary>
public static class BlockCausalAttention
{
    // Scores computed at a time: as many as stay in the processor's caches.
    private const long ScoresAtATime = 1 << 20;

    /// <summary>Attention of the tokens from <paramref name="first"/> on.</summary>
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
            return scope.Keep(Attend(HeadsFirst([q]), k, v, bias));
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
        if (bias is null && AttendFused(queries, k, v, layout, first, absent) is { } fused)
            return scope.Keep(fused);
        var block = HasFusedOperator(q) ? q.Size(1) : layout.Settings.QueryBlock;
        var parts = new List<Tensor>();
        foreach (var (start, end, all) in layout.Shape.Ranges(first, q.Size(1)))
        {
            using var inner = new TensorScope();
            var visible = all - absent;
            var (seenKeys, seenValues, seenBias) = (k.Narrow(2, 0, visible), v.Narrow(2, 0, visible), bias?.Narrow(2, 0, visible));
            for (var at = start; at < end; at += block)
                parts.Add(inner.Keep(Attend(queries.Narrow(2, at - first, Math.Min(block, end - at)), seenKeys, seenValues, seenBias)));
        }

        return scope.Keep(parts.Count == 1 ? parts[0] : Tensor.Cat([.. parts], 1));
    }

    // All ranges in one call; null where the fused kernel does not apply.
    private static Tensor? AttendFused(Tensor q, Tensor k, Tensor v, SequenceLayout layout, long first, long absent)
    {
        AttentionRange[] ranges = [.. layout.Shape.Ranges(first, q.Size(2)).Select(range => new AttentionRange(range.Start - first, range.End - range.Start, range.Keys - absent))];
        return FusedAttention.Apply(q, k, v, ranges, 1 / Math.Sqrt(q.Size(3)))?.Permute(1, 2, 0, 3).Flatten(2);
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
    private static Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? bias)
    {
        if (HasFusedOperator(q))
        {
            return q.Transpose(0, 1).ScaledDotProductAttention(k.Transpose(0, 1), v.Transpose(0, 1), bias?.Unsqueeze(1))
                .Transpose(1, 2).Flatten(2);
        }

        using var scope = new TensorScope();
        var scale = 1 / Math.Sqrt(q.Size(3));
        var (heads, rows) = (q.Size(0), q.Size(1));
        var group = Math.Clamp(ScoresAtATime / (rows * q.Size(2) * k.Size(2)), 1, heads);
        if (bias is null)
            q *= scale;                                                                     // fewer numbers than scores
        var parts = new List<Tensor>();
        for (var head = 0L; head < heads; head += group)
        {
            using var inner = new TensorScope();
            var scores = Some(q).Bmm(Some(k).Transpose(1, 2));                              // [group * b, nq, nk]
            var weights = bias is null
                ? scores.Softmax(-1)
                : bias.Add(scores.Unflatten(0, -1, rows), scale).Softmax(-1).Flatten(0, 1);
            parts.Add(inner.Keep(weights.Bmm(Some(v))));                                    // [group * b, nq, head]

            Tensor Some(Tensor x) => x.Narrow(0, head, Math.Min(group, heads - head)).Flatten(0, 1);
        }

        var all = parts.Count == 1 ? parts[0] : Tensor.Cat([.. parts], 0);                  // [heads * b, nq, head]
        return scope.Keep(all.Unflatten(0, heads, rows).Permute(1, 2, 0, 3).Flatten(2));
    }
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
