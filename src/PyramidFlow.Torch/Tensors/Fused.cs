namespace PyramidFlow.Torch;

/// <summary>
/// Norms and activations of transformers and of the VAE in few passes over memory (<c>native/fused.cpp</c>): on a CPU, in float32 or bfloat16,
/// where autograd does not record. Elsewhere the equivalent operators of libtorch.
/// </summary>
internal static unsafe class Fused
{
    [ThreadStatic]
    private static bool isOff;

    /// <summary>Number of calls of this thread that used a fused kernel.</summary>
    [field: ThreadStatic]
    internal static int Calls { get; private set; }

    /// <summary>Whether this thread uses fused kernels, including attention; tests turn them off to compare.</summary>
    internal static bool IsOn
    {
        get => !isOff;
        set => isOff = !value;
    }

    /// <summary>Whether this thread uses the operators of a recorded pass although autograd does not record.</summary>
    [field: ThreadStatic]
    internal static bool IsForGradients { get; set; }

    private static bool Applies => IsOn && !IsForGradients;

    /// <summary>GELU with the tanh approximation.</summary>
    /// <param name="x">May be overwritten: use only the result.</param>
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

    /// <summary>Normalises each frame by itself in groups of channels, scales and shifts each channel, and applies SiLU.</summary>
    /// <param name="x">[b, c, t, h, w].</param>
    /// <param name="weight">[c].</param>
    /// <param name="bias">[c].</param>
    /// <param name="groups">Divides the channels.</param>
    /// <param name="eps">Added to the variance.</param>
    /// <param name="whole">Moments of the whole frames, of which x is a part; null computes those of x.</param>
    public static Tensor GroupNormSilu(Tensor x, Tensor weight, Tensor bias, long groups, double eps, GroupMoments? whole = null)
    {
        nint y;
        return Applies && Done(Native.pf_fused_group_norm_silu(x.Handle, weight.Handle, bias.Handle, whole?.Values.Handle ?? 0, whole?.Count ?? 0, groups, eps, &y))
            ? Tensor.Own(y)
            : whole is null ? x.Transpose(1, 2).Flatten(0, 1).GroupNorm(groups, weight, bias, eps).Unflatten(0, x.Size(0), -1).Transpose(1, 2).Silu()
            : whole.Normalize(x, weight, bias, groups, eps).Silu();
    }

    /// <summary>Applies rotary position embeddings: rotates pairs of neighbouring features, in float32.</summary>
    /// <param name="x">[b, n, heads, d].</param>
    /// <param name="rotations">Cosines and sines as complex numbers, [n, 1, d / 2].</param>
    public static Tensor Rotate(Tensor x, Tensor rotations)
    {
        nint y;
        if (Applies && Done(Native.pf_fused_turn(x.Handle, rotations.ViewAsReal().Handle, &y)))
            return Tensor.Own(y);
        var pairs = x.To(ElementType.Float32).Unflatten(-1, -1, 2).ViewAsComplex();         // [b, n, h, d/2]
        return (pairs * rotations).ViewAsReal().Flatten(3).To(x.Type);                          // [b, n, h, d]
    }

    /// <summary>Checks the result of a kernel that must apply.</summary>
    internal static void Require(int answer)
    {
        if (!Done(answer))
            throw new TorchException("tensors of one call are of different kinds");
    }

    // On a CPU the operators of libtorch are many times slower in bfloat16 than in float32 with two conversions.
    private static Tensor InFloat32(Tensor x, Func<Tensor, Tensor> work) =>
        x.Type == ElementType.BFloat16 && x.Device.Type == DeviceType.Cpu ? work(x.To(ElementType.Float32)).To(x.Type) : work(x);

    /// <summary>Whether a kernel applied.</summary>
    internal static bool Done(int answer)
    {
        if (answer < 0)
            throw Native.Error("fused work");
        Calls += answer;
        return answer == 1;
    }
}

/// <summary>Means and squared deviations of frames in groups of channels, from which those of frames in several parts can be computed.</summary>
/// <param name="Values">Mean and sum of the squared differences from it, [b, groups, t, 2] in float64.</param>
/// <param name="Count">Number of elements of each.</param>
internal sealed unsafe record GroupMoments(Tensor Values, long Count)
{
    /// <summary>Computes them.</summary>
    /// <param name="x">[b, c, t, h, w].</param>
    /// <param name="groups">Divides the channels.</param>
    public static GroupMoments Of(Tensor x, long groups)
    {
        nint y;
        var count = x.Size(1) / groups * x.Size(3) * x.Size(4);
        if (Fused.IsOn && Fused.Done(Native.pf_fused_group_moments(x.Handle, groups, &y)))
            return new GroupMoments(Tensor.Own(y), count);
        var wide = x.To(ElementType.Float32).Unflatten(1, groups, -1);                      // [b, groups, c / groups, t, h, w]
        var mean = wide.Mean([2, 4, 5]);
        var squares = wide.Var([2, 4, 5], correction: 0) * count;
        return new GroupMoments(Tensor.Stack([mean, squares], 3).To(ElementType.Float64), count);
    }

    /// <summary>The moments of frames from those of their parts, in order.</summary>
    public static GroupMoments Join(IReadOnlyList<GroupMoments> parts)
    {
        var count = parts.Sum(part => part.Count);
        var mean = Sum(part => Mean(part) * ((double)part.Count / count));
        var squares = Sum(part => (Mean(part) - mean) is var off ? Squares(part) + (off * off * part.Count) : off);
        return new GroupMoments(Tensor.Stack([mean, squares], 3), count);

        Tensor Sum(Func<GroupMoments, Tensor> term) => parts.Skip(1).Aggregate(term(parts[0]), (sum, part) => sum + term(part));
    }

    /// <summary>Normalises a part of the frames, then scales and shifts each channel.</summary>
    internal Tensor Normalize(Tensor x, Tensor weight, Tensor bias, long groups, double eps)
    {
        var factor = (Squares(this) * (1.0 / Count) + eps).Rsqrt();                         // [b, groups, t]
        var y = (x.To(ElementType.Float32).Unflatten(1, groups, -1) - Shaped(Mean(this))) * Shaped(factor);
        return ((y.Flatten(1, 2) * PerChannel(weight)) + PerChannel(bias)).To(x.Type);

        static Tensor Shaped(Tensor each) => each.To(ElementType.Float32).Unsqueeze(2).Unsqueeze(4).Unsqueeze(5);  // [b, groups, 1, t, 1, 1]

        static Tensor PerChannel(Tensor each) => each.To(ElementType.Float32).Reshape(1, -1, 1, 1, 1);
    }

    private static Tensor Mean(GroupMoments moments) => moments.Values.Select(3, 0);

    private static Tensor Squares(GroupMoments moments) => moments.Values.Select(3, 1);
}

/// <summary>Consecutive queries that attend to the same keys, counted from the first key.</summary>
/// <param name="First">Index of the first query.</param>
/// <param name="Count">Number of queries.</param>
/// <param name="Keys">Number of keys that they attend to.</param>
internal readonly record struct AttentionRange(long First, long Count, long Keys);

/// <summary>Text tokens that nobody attends to. The text is the first tokens; each row has its words at the beginning of the text, or at its end.</summary>
/// <param name="Words">Number of words of each row, from 1 to <paramref name="Text"/>; they repeat where a batch has more rows.</param>
/// <param name="Text">Tokens of the text.</param>
/// <param name="WordsAtEnd">Whether the padding stands before the words.</param>
internal sealed record TextPadding(IReadOnlyList<int> Words, long Text, bool WordsAtEnd)
{
    /// <summary>The same for <c>native/attention.cpp</c>.</summary>
    internal readonly unsafe struct Values(long* words, long count, long text, bool wordsAtEnd)
    {
        /// <summary>Words of each row.</summary>
        internal readonly long* Words = words;

        /// <summary>Number of rows, tokens of the text, and whether the words stand at its end.</summary>
        internal readonly long Count = count, Text = text, WordsAtEnd = wordsAtEnd ? 1 : 0;
    }
}

/// <summary>
/// Attention in blocks whose scores stay in the CPU caches, parallel over heads and rows (<c>native/attention.cpp</c>): on a CPU,
/// in float32 or bfloat16. Backward recomputes the weights in the same blocks, so memory never holds all scores.
/// </summary>
internal static unsafe class FusedAttention
{
    /// <summary>Whether the CPU has the vectors of <c>native/attention_block.cpp</c> for such heads: only then is padding left out, and one call is best at any length.</summary>
    /// <param name="q">Queries, [heads, b, nq, d].</param>
    public static bool HasVectors(Tensor q) => Fused.IsOn && q.Device.Type == DeviceType.Cpu && HasVectors(q.Type, q.Size(3));

    /// <summary>The same for a network that is planned.</summary>
    /// <param name="type">Element type.</param>
    /// <param name="width">Features of a head.</param>
    public static bool HasVectors(ElementType type, long width) =>
        type is ElementType.Float32 or ElementType.BFloat16 && Native.pf_vector_attention(type == ElementType.BFloat16 ? 1 : 0, width) == 1;

    /// <summary>softmax(scale * q k^T) v; null where the kernel does not apply.</summary>
    /// <param name="q">[heads, b, nq, d].</param>
    /// <param name="keys">Keys in 1 to 8 parts that follow one another, [heads, b, n, d] each; gradients need one part. Rows of a head that lie together are not copied.</param>
    /// <param name="values">Values, shaped like the keys.</param>
    /// <param name="ranges">Ranges that cover all queries in order.</param>
    /// <param name="scale">Positive.</param>
    /// <param name="padding">Text that nobody attends to, only with <see cref="HasVectors(Tensor)"/>; null for none. Queries of such tokens have a result that means nothing.</param>
    /// <returns>[heads, b, nq, d].</returns>
    /// <exception cref="TorchException">Shapes, ranges and padding do not match.</exception>
    public static Tensor? Apply(Tensor q, IReadOnlyList<Tensor> keys, IReadOnlyList<Tensor> values, AttentionRange[] ranges, double scale, TextPadding? padding = null)
    {
        if (!Fused.IsOn || q.Device.Type != DeviceType.Cpu || q.Type is not (ElementType.Float32 or ElementType.BFloat16) || q.ElementCount == 0 || keys[0].ElementCount == 0)
            return null;
        var call = new Call(ranges, padding, scale);
        if (keys.Count > 1)
            return call.Forward(q, keys, values, false).Y;
        var recorded = NoGrad.IsRecording && (q.RequiresGrad || keys[0].RequiresGrad || values[0].RequiresGrad);
        return CustomFunction.Apply([q, keys[0], values[0]], () =>
        {
            var (y, exponents) = call.Forward(q, keys, values, recorded);
            return ([y], exponents is null ? [q, keys[0], values[0]] : [q, keys[0], values[0], y, exponents]);
        }, (gradients, saved) => call.Backward(saved, gradients[0]!))[0];
    }

    // What is the same in both directions.
    private sealed record Call(AttentionRange[] Ranges, TextPadding? Padding, double Scale)
    {
        private readonly long[] words = [.. Padding?.Words.Select(count => (long)count) ?? []];

        internal (Tensor Y, Tensor? Exponents) Forward(Tensor q, IReadOnlyList<Tensor> keys, IReadOnlyList<Tensor> values, bool recorded)
        {
            nint y, exponents = 0;
            var handles = stackalloc nint[2 * keys.Count];
            for (var i = 0; i < keys.Count; i++)
                (handles[i], handles[keys.Count + i]) = (keys[i].Handle, values[i].Handle);
            fixed (AttentionRange* first = Ranges)
            fixed (long* word = words)
            {
                var padding = Values(word);
                Fused.Require(Native.pf_fused_attention(q.Handle, handles, handles + keys.Count, keys.Count, (long*)first, Ranges.Length, word is null ? null : &padding, Scale,
                    &y, recorded ? &exponents : null));
            }

            return (Tensor.Own(y), exponents == 0 ? null : Tensor.Own(exponents));
        }

        // Saved are q, k and v, and from a CPU with AVX-512 also y and the exponents of the softmax.
        internal Tensor?[] Backward(Tensor[] saved, Tensor gradient)
        {
            nint dq, dk, dv;
            var (y, exponents) = saved.Length == 3 ? (0, 0) : (saved[3].Handle, saved[4].Handle);
            fixed (AttentionRange* first = Ranges)
            fixed (long* word = words)
            {
                var padding = Values(word);
                Fused.Require(Native.pf_fused_attention_backward(saved[0].Handle, saved[1].Handle, saved[2].Handle, y, exponents, gradient.Handle, (long*)first, Ranges.Length,
                    word is null ? null : &padding, Scale, &dq, &dk, &dv));
            }

            return [Tensor.Own(dq), Tensor.Own(dk), Tensor.Own(dv)];
        }

        private TextPadding.Values Values(long* word) => new(word, words.Length, Padding?.Text ?? 0, Padding is { WordsAtEnd: true });
    }
}
