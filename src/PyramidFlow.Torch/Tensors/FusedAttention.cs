using PyramidFlow.Torch.Interop;

namespace PyramidFlow.Torch;

/// <summary>Neighbouring queries that see the same keys, which are the first ones.</summary>
/// <param name="First">The first query.</param>
/// <param name="Count">How many queries.</param>
/// <param name="Keys">How many keys they see.</param>
public readonly record struct AttentionRange(long First, long Count, long Keys);

/// <summary>
/// Attention in blocks whose scores stay in the processor's caches, heads and rows shared out among threads
/// (<c>native/attention.cpp</c>): on a CPU, in float32 or bfloat16. Gradients come the same way, from weights that are computed
/// again, so that nothing the size of the scores is ever kept.
/// </summary>
public static unsafe class FusedAttention
{
    /// <summary>softmax(scale * q k^T) v; null where it does not apply.</summary>
    /// <param name="q">[heads, b, nq, d].</param>
    /// <param name="k">[heads, b, nk, d].</param>
    /// <param name="v">[heads, b, nk, d].</param>
    /// <param name="ranges">All queries, one range after another.</param>
    /// <param name="scale">Positive.</param>
    /// <returns>[heads, b, nq, d].</returns>
    /// <exception cref="TorchException">The shapes or the ranges do not fit one another.</exception>
    public static Tensor? Apply(Tensor q, Tensor k, Tensor v, AttentionRange[] ranges, double scale)
    {
        if (!Fused.IsOn || q.Device.Type != DeviceType.Cpu || q.Type is not (ElementType.Float32 or ElementType.BFloat16) || q.ElementCount == 0 || k.ElementCount == 0)
            return null;
        return CustomFunction.Apply([q, k, v], () => ([Forward(q, k, v, ranges, scale)], [q, k, v]),
            (gradients, saved) => Backward(saved[0], saved[1], saved[2], gradients[0]!, ranges, scale))[0];
    }

    private static Tensor Forward(Tensor q, Tensor k, Tensor v, AttentionRange[] ranges, double scale)
    {
        nint y;
        fixed (AttentionRange* first = ranges)
            Fused.Require(Native.pf_fused_attention(q.Handle, k.Handle, v.Handle, (long*)first, ranges.Length, scale, &y));
        return Tensor.Own(y);
    }

    private static Tensor?[] Backward(Tensor q, Tensor k, Tensor v, Tensor given, AttentionRange[] ranges, double scale)
    {
        nint dq, dk, dv;
        fixed (AttentionRange* first = ranges)
            Fused.Require(Native.pf_fused_attention_backward(q.Handle, k.Handle, v.Handle, given.Handle, (long*)first, ranges.Length, scale, &dq, &dk, &dv));
        return [Tensor.Own(dq), Tensor.Own(dk), Tensor.Own(dv)];
    }
}
