using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Attention, softmax(q k^T / sqrt(d) + bias) v, in chunks of queries and heads, so that memory never holds all scores of a long
/// sequence.
/// </summary>
internal static class ChunkedAttention
{
    // Scores of as many heads are computed at a time as fit in the CPU caches.
    private const long CachedScores = 1 << 20;

    /// <summary>Attends in one call of the fused CPU kernel; null where the kernel does not apply.</summary>
    /// <param name="q">[heads, b, nq, d].</param>
    /// <param name="k">Keys in parts that follow one another, [heads, b, n, d] each.</param>
    /// <param name="v">Values, likewise.</param>
    /// <param name="ranges">Ranges that cover all queries in order.</param>
    /// <param name="padding">Text that nobody attends to, only with <see cref="FusedAttention.HasVectors(Tensor)"/>.</param>
    /// <returns>[b, nq, heads * d].</returns>
    public static Tensor? Fused(Tensor q, IReadOnlyList<Tensor> k, IReadOnlyList<Tensor> v, AttentionRange[] ranges, TextPadding? padding = null) =>
        FusedAttention.Apply(q, k, v, ranges, 1 / Math.Sqrt(q.Size(3)), padding)?.Permute(1, 2, 0, 3).Flatten(2);

    /// <summary>Attends with the operators of libtorch, on any device.</summary>
    /// <param name="q">[heads, b, nq, d].</param>
    /// <param name="k">[heads, b, nk, d].</param>
    /// <param name="v">[heads, b, nk, d].</param>
    /// <param name="bias">Added to the scores: [1 or b, 1, nk], or [1 or b, nq, nk] where one chunk has all queries; null for none.</param>
    /// <param name="queries">Queries at a time; the scores of one chunk have b * queries * nk elements for each head.</param>
    /// <returns>[b, nq, heads * d].</returns>
    public static Tensor Forward(Tensor q, Tensor k, Tensor v, Tensor? bias, long queries)
    {
        var parts = new List<Tensor>();
        for (long at = 0, count = q.Size(2); at < count; at += queries)
            parts.Add(Attend(q.Narrow(2, at, Math.Min(queries, count - at)), k, v, bias));
        return parts.Count == 1 ? parts[0] : Tensor.Cat([.. parts], 1);
    }

    private static Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? bias)
    {
        using var scope = new TensorScope();
        var scale = 1 / Math.Sqrt(q.Size(3));
        var (heads, rows) = (q.Size(0), q.Size(1));
        var group = Math.Clamp(CachedScores / (rows * q.Size(2) * k.Size(2)), 1, heads);
        if (bias is null)
            q *= scale;                                                                     // fewer elements than the scores
        var parts = new List<Tensor>();
        for (var head = 0L; head < heads; head += group)
        {
            using var inner = new TensorScope();
            var scores = Part(q).Bmm(Part(k).Transpose(1, 2));                              // [group * b, nq, nk]
            var weights = bias is null
                ? scores.Softmax(-1)
                : bias.Add(scores.Unflatten(0, -1, rows), scale).Softmax(-1).Flatten(0, 1);
            parts.Add(inner.Keep(weights.Bmm(Part(v))));                                    // [group * b, nq, d]

            Tensor Part(Tensor x) => x.Narrow(0, head, Math.Min(group, heads - head)).Flatten(0, 1);
        }

        var all = parts.Count == 1 ? parts[0] : Tensor.Cat([.. parts], 0);                  // [heads * b, nq, d]
        return scope.Keep(all.Unflatten(0, heads, rows).Permute(1, 2, 0, 3).Flatten(2));
    }
}
