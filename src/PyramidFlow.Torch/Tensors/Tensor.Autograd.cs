namespace PyramidFlow.Torch;

/// <content>Gradients.</content>
public sealed unsafe partial class Tensor
{
    /// <summary>Whether operations on it are recorded for <see cref="Backward(Tensor?, bool)"/>.</summary>
    public bool RequiresGrad
    {
        get => Native.pf_tensor_requires_grad(Handle) != 0;
        set
        {
            if (Native.pf_tensor_set_requires_grad(Handle, value ? 1 : 0) < 0)
                throw Native.Error("requires_grad");
        }
    }

    /// <summary>The accumulated gradient, or null when there is none.</summary>
    public Tensor? Grad
    {
        get
        {
            var gradient = Native.pf_tensor_grad(Handle);
            return gradient == 0 ? null : Own(gradient);
        }

        set
        {
            if (Native.pf_tensor_set_grad(Handle, value?.Handle ?? 0) < 0)
                throw Native.Error("grad");
        }
    }

    /// <summary>Accumulates the gradients of all leaves this tensor depends on.</summary>
    /// <param name="gradient">Gradient of this tensor; null stands for one and needs a scalar.</param>
    /// <param name="retainGraph">Keep what was recorded for another call.</param>
    /// <exception cref="TorchException">
    /// libtorch refused, or the backward of a <see cref="CustomFunction"/> threw: then its exception is the inner one.
    /// </exception>
    public void Backward(Tensor? gradient = null, bool retainGraph = false)
    {
        nint root = Handle, seed = gradient?.Handle ?? 0;
        if (Native.pf_backward(&root, &seed, 1, retainGraph ? 1 : 0) < 0)
            throw BackwardNode.Failure() ?? Native.Error("backward");
    }

    /// <summary>Accumulates the gradients of all leaves that several tensors depend on, in one pass.</summary>
    /// <param name="roots">Where to begin.</param>
    /// <param name="gradients">A gradient for each of them; null stands for one and needs a scalar.</param>
    /// <exception cref="ArgumentException">The two differ in length.</exception>
    public static void Backward(IReadOnlyList<Tensor> roots, IReadOnlyList<Tensor?> gradients)
    {
        if (roots.Count != gradients.Count)
            throw new ArgumentException($"{roots.Count} roots need as many gradients, not {gradients.Count}", nameof(gradients));
        var handles = roots.Select(root => root.Handle).ToArray();
        var seeds = gradients.Select(seed => seed?.Handle ?? 0).ToArray();
        fixed (nint* first = handles, firstSeed = seeds)
        {
            if (Native.pf_backward(first, firstSeed, handles.Length, 0) < 0)
                throw BackwardNode.Failure() ?? Native.Error("backward");
        }

        GC.KeepAlive(roots);
        GC.KeepAlive(gradients);
    }

    /// <summary>
    /// Gradients of this tensor with respect to some others, leaves or not; what leaves have accumulated stays as it is, and
    /// only what lies between is computed.
    /// </summary>
    /// <param name="inputs">Tensors this one may depend on.</param>
    /// <param name="gradient">Gradient of this tensor; null stands for one and needs a scalar.</param>
    /// <param name="retainGraph">Keep what was recorded for another call.</param>
    /// <returns>One for each input, shaped like it; zeros where this tensor does not depend on it.</returns>
    public Tensor[] Gradients(IReadOnlyList<Tensor> inputs, Tensor? gradient = null, bool retainGraph = false)
    {
        nint root = Handle, seed = gradient?.Handle ?? 0;
        var wanted = inputs.Select(input => input.Handle).ToArray();
        var found = new nint[wanted.Length];
        fixed (nint* first = wanted, results = found)
        {
            if (Native.pf_gradients(&root, &seed, 1, first, results, wanted.Length, retainGraph ? 1 : 0) < 0)
                throw BackwardNode.Failure() ?? Native.Error("gradients");
        }

        GC.KeepAlive(inputs);
        GC.KeepAlive(gradient);
        return [.. found.Select((handle, i) => handle == 0 ? inputs[i].ZerosLike() : Own(handle))];
    }
}

/// <summary>While open, operations of this thread are not recorded for backward. Not across an <c>await</c>.</summary>
public readonly ref struct NoGrad
{
    private readonly int before;

    private NoGrad(bool recording)
    {
        TorchRuntime.EnsureStarted();
        before = Native.pf_grad_mode(recording ? 1 : 0);
    }

    /// <summary>Whether this thread records now.</summary>
    public static bool IsRecording
    {
        get
        {
            using var probe = Begin();
            return probe.WasRecording;
        }
    }

    /// <summary>Whether this thread recorded before.</summary>
    internal bool WasRecording => before != 0;

    /// <summary>Stops recording: <c>using var _ = NoGrad.Begin();</c></summary>
    public static NoGrad Begin() => new(recording: false);

    /// <summary>Records again inside a region that does not.</summary>
    public static NoGrad Suspend() => new(recording: true);

    /// <summary>Goes back to the mode before.</summary>
    public void Dispose() => _ = Native.pf_grad_mode(before);
}
