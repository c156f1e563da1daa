using PyramidFlow.Torch;

namespace PyramidFlow.Transformers;

/// <summary>
/// Attention over a <see cref="SequenceLayout"/>: every token sees the text and, where the layout is causal, the latent
/// frames up to its own. Never makes the [n, n] scores of a long sequence.
/// </summary>
public static class BlockCausalAttention
{
    /// <summary>Attends with the tokens from <paramref name="first"/> on.</summary>
    /// <param name="q">Queries of tokens first, first + 1, ...: [b, nq, heads, head].</param>
    /// <param name="keys">Keys of tokens 0, 1, ..., at least up to the last query, in parts [b, n, heads, head], of which the first holds all text.</param>
    /// <param name="values">Values, shaped like the keys.</param>
    /// <param name="layout">Who sees whom.</param>
    /// <param name="first">Place of the first query in the sequence.</param>
    /// <returns>[b, nq, heads * head].</returns>
    public static Tensor Forward(Tensor q, IReadOnlyList<Tensor> keys, IReadOnlyList<Tensor> values, SequenceLayout layout, long first)
    {
        var fused = q.Device.Type == DeviceType.Cuda && Tensor.HasScaledDotProductAttention;
        if (fused && layout is { HasPadding: true, TextLengths: { } words } && layout.Length > layout.Settings.WholeUpTo)
            return AttendWords(q, keys, values, layout, first, words);
        var (k, v) = (Joined(keys), Joined(values));                                        // [b, nk, heads, head]
        if (layout.Length <= layout.Settings.WholeUpTo)
        {
            var bias = layout.WholeBias(q.Type).Narrow(1, first, q.Size(1)).Narrow(2, 0, k.Size(1));
            return fused ? AttendFused(q, k, v, bias) : Attend(q, k, v, bias);
        }

        return AttendRanges(q, k, v, layout, first, fused);
    }

    // Queries that see the same keys at a time.
    private static Tensor AttendRanges(Tensor q, Tensor k, Tensor v, SequenceLayout layout, long first, bool fused)
    {
        var block = fused ? q.Size(1) : layout.Settings.QueryBlock;
        var parts = new List<Tensor>();
        foreach (var (start, end, visible) in layout.Shape.Ranges(first, q.Size(1)))
        {
            using var scope = new TensorScope();
            var (seenKeys, seenValues) = (k.Narrow(1, 0, visible), v.Narrow(1, 0, visible));
            var bias = layout.HasPadding ? layout.KeyBias(q.Type).Narrow(2, 0, visible) : null;
            for (var at = start; at < end; at += block)
            {
                var some = q.Narrow(1, at - first, Math.Min(block, end - at));
                parts.Add(scope.Keep(fused ? AttendFused(some, seenKeys, seenValues, bias) : Attend(some, seenKeys, seenValues, bias)));
            }
        }

        return Joined(parts);
    }

    // Fused attention is twice as fast without a mask. Rows with as many words are done together, on keys without the padding.
    private static Tensor AttendWords(Tensor q, IReadOnlyList<Tensor> k, IReadOnlyList<Tensor> v, SequenceLayout layout, long first, IReadOnlyList<int> words)
    {
        using var scope = new TensorScope();
        var rows = new List<Tensor>();
        foreach (var (row, length) in words.Index())
        {
            using var inner = new TensorScope();
            var padding = layout.TextLength - length;
            var (queries, keys, values) = (Rows(q), Seen(k), Seen(v));
            var parts = layout.Shape.Ranges(first, q.Size(1)).Select(range => AttendFused(queries.Narrow(1, range.Start - first, range.End - range.Start),
                keys.Narrow(1, 0, range.Keys - padding), values.Narrow(1, 0, range.Keys - padding), null)).ToArray();
            rows.Add(inner.Keep(Joined(parts)));       // [b / lengths, nq, heads * head]

            Tensor Rows(Tensor x) => x.Slice(0, row, q.Size(0), words.Count);

            Tensor Seen(IReadOnlyList<Tensor> parts)
            {
                var all = parts.Select(Rows).ToList();
                if (padding > 0)
                    all = [all[0].Narrow(1, 0, length), all[0].Narrow(1, layout.TextLength, all[0].Size(1) - layout.TextLength), .. all.Skip(1)];
                return Joined(all);
            }
        }

        return scope.Keep(Tensor.Stack([.. rows], 1).Flatten(0, 1));                         // [b, nq, heads * head]
    }

    private static Tensor Joined(IReadOnlyList<Tensor> parts) => parts.Count == 1 ? parts[0] : Tensor.Cat([.. parts], 1);

    // One head at a time: its queries, keys and values are plain views of [b, n, heads, head], so nothing is transposed in
    // memory, and the heads' results side by side are the output.
    private static Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? bias)
    {
        using var scope = new TensorScope();
        var scale = 1 / Math.Sqrt(q.Size(3));
        var (queries, keys, values) = (q.Unbind(2), k.Unbind(2), v.Unbind(2));              // heads x [b, n, head]
        var start = bias ?? Tensor.Zeros([1, 1, 1], q.Type, q.Device);
        var heads = new Tensor[queries.Length];
        for (var h = 0; h < heads.Length; h++)
        {
            using var inner = new TensorScope();
            var scores = start.Baddbmm(queries[h], keys[h].Transpose(1, 2), alpha: scale);  // [b, nq, nk]
            heads[h] = inner.Keep(scores.Softmax(-1).Bmm(values[h]));                       // [b, nq, head]
        }

        return scope.Keep(heads.Length == 1 ? heads[0] : Tensor.Cat(heads, -1));            // [b, nq, heads * head]
    }

    private static Tensor AttendFused(Tensor q, Tensor k, Tensor v, Tensor? bias) =>
        q.Transpose(1, 2).ScaledDotProductAttention(k.Transpose(1, 2), v.Transpose(1, 2), bias?.Unsqueeze(1))
            .Transpose(1, 2).Flatten(2);                                                    // [b, nq, heads * head]
}
