namespace PyramidFlow.Torch;

/// <summary>
/// Norms and activations of transformers in few passes over memory (<c>native/fused.cpp</c>): on a CPU, in float32 or bfloat16,
/// where no gradient is recorded. Elsewhere the operators of libtorch that they stand for.
/// </summary>
public static unsafe class Fused
{
    [ThreadStatic]
    private static bool isOff;

    /// <summary>Calls of this thread that took the one-pass way.</summary>
    [field: ThreadStatic]
    internal static int Calls { get; private set; }

    /// <summary>Whether this thread takes it, attention included; on unless plain operators are wanted to compare with.</summary>
    internal static bool IsOn
    {
        get => !isOff;
        set => isOff = !value;
    }

    /// <summary>Whether this thread works as it does where gradients are recorded, though they are not.</summary>
    [field: ThreadStatic]
    internal static bool IsForGradients { get; set; }

    private static bool Applies => IsOn && !IsForGradients;

    /// <summary>GELU in tanh's approximation.</summary>
    /// <param name="x">May be overwritten: only the result is for use.</param>
    public static Tensor Gelu(Tensor x) => Applies && Done(Native.pf_fused_gelu(x.Handle)) ? x : InFloat32(x, wide => wide.Gelu(approximate: true));

    /// <summary>Normalises the last dimension to mean 0 and variance 1, then scales and shifts it.</summary>
    /// <param name="x">[b, n, d].</param>
    /// <param name="scale">[b, 1, d].</param>
    /// <param name="shift">[b, 1, d].</param>
    /// <param name="eps">Added to the variance.</param>
    public static Tensor Modulate(Tensor x, Tensor scale, Tensor shift, double eps)
    {
        nint y;
        return Applies && Done(Native.pf_fused_modulate(x.Handle, scale.Handle, shift.Handle, eps, &y))
            ? Tensor.Own(y)
            : shift.Addcmul(InFloat32(x, wide => wide.LayerNorm([x.Size(-1)], eps: eps)), scale);
    }

    /// <summary>Divides the last dimension by its root mean square, computed in float32, and scales it.</summary>
    /// <param name="x">[..., d].</param>
    /// <param name="weight">[d].</param>
    /// <param name="eps">Added to the mean square.</param>
    public static Tensor RmsNorm(Tensor x, Tensor weight, double eps)
    {
        nint y;
        if (Applies && Done(Native.pf_fused_rms_norm(x.Handle, weight.Handle, eps, &y)))
            return Tensor.Own(y);
        var wide = x.To(ElementType.Float32);
        var scale = ((wide * wide).Mean([-1], keepDim: true) + eps).Rsqrt();
        return (wide * scale).To(x.Type) * weight;
    }

    /// <summary>Turns pairs of neighbouring features, as complex numbers, in float32.</summary>
    /// <param name="x">[b, n, heads, d].</param>
    /// <param name="turns">Cosines and sines, complex, [n, 1, d / 2].</param>
    public static Tensor Turn(Tensor x, Tensor turns)
    {
        nint y;
        if (Applies && Done(Native.pf_fused_turn(x.Handle, turns.ViewAsReal().Handle, &y)))
            return Tensor.Own(y);
        var pairs = x.To(ElementType.Float32).Unflatten(-1, -1, 2).ViewAsComplex();         // [b, n, h, d/2]
        return (pairs * turns).ViewAsReal().Flatten(3).To(x.Type);                          // [b, n, h, d]
    }

    /// <summary>The answer of a kernel that must apply.</summary>
    internal static void Require(int answer)
    {
        if (!Done(answer))
            throw new TorchException("tensors of one call are of different kinds");
    }

    // libtorch's operators on a CPU are many times slower in bfloat16 than in float32 and two conversions.
    private static Tensor InFloat32(Tensor x, Func<Tensor, Tensor> work) =>
        x.Type == ElementType.BFloat16 && x.Device.Type == DeviceType.Cpu ? work(x.To(ElementType.Float32)).To(x.Type) : work(x);

    private static bool Done(int answer)
    {
        if (answer < 0)
            throw Native.Error("fused work");
        Calls += answer;
        return answer == 1;
    }
}

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
