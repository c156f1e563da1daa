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
    /// <param name="k">Keys of tokens 0, 1, ...: [b, nk, heads, head]; at least up to the last query.</param>
    /// <param name="v">Values, shaped like the keys.</param>
    /// <param name="layout">Who sees whom.</param>
    /// <param name="first">Place of the first query in the sequence.</param>
    /// <returns>[b, nq, heads * head].</returns>
    public static Tensor Forward(Tensor q, Tensor k, Tensor v, SequenceLayout layout, long first)
    {
        var (queries, keys) = (q.Size(1), k.Size(1));
        if (layout.Length <= layout.Settings.WholeUpTo)
        {
            var bias = layout.WholeBias(q.Type).Narrow(1, first, queries).Narrow(2, 0, keys);
            return Attend(q, k, v, bias);
        }

        var fused = q.Device.Type == DeviceType.Cuda && Tensor.HasScaledDotProductAttention;
        var block = fused ? queries : layout.Settings.QueryBlock;
        var parts = new List<Tensor>();
        foreach (var (start, end, visible) in layout.Shape.Ranges(first, queries))
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

        return parts.Count == 1 ? parts[0] : Tensor.Cat([.. parts], 1);
    }

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
