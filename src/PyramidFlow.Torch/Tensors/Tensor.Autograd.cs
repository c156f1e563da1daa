namespace PyramidFlow.Torch;

/// <content>Autograd.</content>
public sealed unsafe partial class Tensor
{
    /// <summary>Whether autograd records operations on this tensor.</summary>
    public bool RequiresGrad
    {
        get => Native.pf_tensor_requires_grad(Handle) != 0;
        set
        {
            if (Native.pf_tensor_set_requires_grad(Handle, value ? 1 : 0) < 0)
                throw Native.Error("requires_grad");
        }
    }

    /// <summary>The accumulated gradient, or null.</summary>
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
    /// <param name="gradient">Gradient of this tensor; null is 1 and requires a scalar.</param>
    /// <param name="retainGraph">Keeps the recorded graph for another call.</param>
    /// <exception cref="TorchException">
    /// libtorch failed, or the backward of a <see cref="CustomFunction"/> threw; its exception is the inner one.
    /// </exception>
    public void Backward(Tensor? gradient = null, bool retainGraph = false)
    {
        nint root = Handle, seed = gradient?.Handle ?? 0;
        if (Native.pf_backward(&root, &seed, 1, retainGraph ? 1 : 0) < 0)
            throw BackwardNode.Failure() ?? Native.Error("backward");
    }

    /// <summary>Accumulates the gradients of all leaves that several tensors depend on, in one backward pass.</summary>
    /// <param name="roots">Tensors to differentiate.</param>
    /// <param name="gradients">Gradient of each root; null is 1 and requires a scalar.</param>
    /// <exception cref="ArgumentException">The lists differ in length.</exception>
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
    /// Gradients of this tensor with respect to given tensors, leaves or not. Does not change the accumulated gradients of
    /// leaves, and computes only the part of the graph that lies between.
    /// </summary>
    /// <param name="inputs">Tensors that this one may depend on.</param>
    /// <param name="gradient">Gradient of this tensor; null is 1 and requires a scalar.</param>
    /// <param name="retainGraph">Keeps the recorded graph for another call.</param>
    /// <returns>One gradient for each input, of its shape; zeros if this tensor does not depend on it.</returns>
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

/// <summary>Stops autograd on this thread until it is disposed. Must not span an <c>await</c>.</summary>
public readonly ref struct NoGrad
{
    private readonly int before;

    private NoGrad(bool recording)
    {
        TorchRuntime.EnsureStarted();
        before = Native.pf_grad_mode(recording ? 1 : 0);
    }

    /// <summary>Whether autograd records on this thread.</summary>
    public static bool IsRecording
    {
        get
        {
            using var probe = Begin();
            return probe.WasRecording;
        }
    }

    /// <summary>Whether autograd recorded before.</summary>
    internal bool WasRecording => before != 0;

    /// <summary>Stops recording: <c>using var _ = NoGrad.Begin();</c></summary>
    public static NoGrad Begin() => new(recording: false);

    /// <summary>Resumes recording inside a region without: <c>using var _ = NoGrad.Suspend();</c></summary>
    public static NoGrad Suspend() => new(recording: true);

    /// <summary>Restores the mode before.</summary>
    public void Dispose() => _ = Native.pf_grad_mode(before);
}
