using System.Runtime.InteropServices;

namespace PyramidFlow.Torch;

/// <summary>A function with a backward of its own, for what autograd cannot record or should not keep.</summary>
/// <example><code>
/// var y = CustomFunction.Apply([x], () => [x.Exp()], gradients => [gradients[0]! * factor])[0];
/// </code></example>
public static class CustomFunction
{
    /// <summary>Runs a function without recording it and gives its results this backward.</summary>
    /// <param name="inputs">What gradients can flow to; nothing is recorded when none of them wants one.</param>
    /// <param name="forward">The function; its results are floating point.</param>
    /// <param name="backward">
    /// From the gradients of the results (null where none came) to those of the inputs, in order (null for none). It runs
    /// without recording, in a scope of its own, on whichever thread runs <see cref="Tensor.Backward(Tensor?, bool)"/>; what
    /// it throws comes out of there. A tensor of the caller's scope may be gone by then: hand it over as saved.
    /// </param>
    /// <returns>The results, in the caller's scope.</returns>
    public static Tensor[] Apply(Tensor[] inputs, Func<Tensor[]> forward, Func<Tensor?[], Tensor?[]> backward) =>
        Apply(inputs, () => (forward(), []), (gradients, _) => backward(gradients));

    /// <summary>The same, with tensors that stay alive for the backward, as long as the graph does.</summary>
    /// <param name="inputs">What gradients can flow to; nothing is recorded when none of them wants one.</param>
    /// <param name="forward">The function; gives its results and what its backward needs, which can be inputs or results.</param>
    /// <param name="backward">From the gradients of the results and the saved tensors to the gradients of the inputs.</param>
    /// <returns>The results, in the caller's scope.</returns>
    /// <exception cref="ArgumentException">A result that would need a gradient is not floating point.</exception>
    public static Tensor[] Apply(Tensor[] inputs, Func<(Tensor[] Outputs, Tensor[] Saved)> forward,
        Func<Tensor?[], Tensor[], Tensor?[]> backward)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var (results, needed) = forward();

        // New tensors over the same memory: a result may be an input or a weight, whose own history must stay.
        Tensor[] outputs = [.. results.Select(result => result.Detach())];
        if (noGrad.WasRecording && inputs.Any(input => input.RequiresGrad))
        {
            if (outputs.FirstOrDefault(output => !output.Type.IsFloatingPoint()) is { } other)
                throw new ArgumentException($"a result of type {other.Type} has no gradient: keep it out of the function", nameof(forward));
            BackwardNode.Attach(inputs, outputs, backward, [.. needed.Select(tensor => TensorScope.Release(tensor.Detach()))]);
        }

        return [.. outputs.Select(scope.Keep)];
    }
}

/// <summary>A node of autograd's graph whose backward is a C# function; lives as long as the graph needs it.</summary>
internal sealed unsafe class BackwardNode
{
    // From a callback that failed to the Backward that it fails, on the same thread: C++ carries only text.
    [ThreadStatic]
    private static Exception? failure;

    private readonly Func<Tensor?[], Tensor[], Tensor?[]> backward;
    private readonly Tensor[] saved;

    private BackwardNode(Func<Tensor?[], Tensor[], Tensor?[]> backward, Tensor[] saved)
    {
        this.backward = backward;
        this.saved = saved;
    }

    /// <summary>Makes outputs depend on inputs.</summary>
    /// <param name="inputs">What to send gradients to.</param>
    /// <param name="outputs">Tensors without history, which get this node as theirs.</param>
    /// <param name="backward">From the gradients of the outputs and what was saved to the gradients of the inputs.</param>
    /// <param name="saved">Tensors of no scope; taken over and freed with the graph.</param>
    internal static void Attach(Tensor[] inputs, Tensor[] outputs, Func<Tensor?[], Tensor[], Tensor?[]> backward, Tensor[] saved)
    {
        var from = inputs.Select(input => input.Handle).ToArray();
        var to = outputs.Select(output => output.Handle).ToArray();
        var context = GCHandle.ToIntPtr(GCHandle.Alloc(new BackwardNode(backward, saved)));
        fixed (nint* firstInput = from, firstOutput = to)
        {
            if (Native.pf_attach_node(firstInput, from.Length, firstOutput, to.Length, &Run, &Release, context) < 0)
                throw Native.Error("autograd node");
        }

        GC.KeepAlive(inputs);
        GC.KeepAlive(outputs);
    }

    /// <summary>What the last failed backward of this thread threw, once; null when libtorch itself failed.</summary>
    internal static TorchException? Failure()
    {
        var thrown = failure;
        failure = null;
        return thrown is null ? null : new TorchException($"backward: {thrown.Message}", thrown);
    }

    [UnmanagedCallersOnly]
    private static int Run(nint context, nint* gradients, int gradientCount, nint* results, int resultCount)
    {
        try
        {
            var node = (BackwardNode)GCHandle.FromIntPtr(context).Target!;
            node.Run(new ReadOnlySpan<nint>(gradients, gradientCount), new Span<nint>(results, resultCount));
            return 0;
        }
        catch (Exception e)
        {
            // One backward inside another reports only the innermost fault.
            failure = e is TorchException { InnerException: { } cause } ? cause : e;
            Native.pf_set_callback_error(failure.Message);
            return 1;
        }
    }

    [UnmanagedCallersOnly]
    private static void Release(nint context)
    {
        var held = GCHandle.FromIntPtr(context);
        foreach (var tensor in ((BackwardNode)held.Target!).saved)
            tensor.Dispose();
        held.Free();
    }

    private void Run(ReadOnlySpan<nint> gradients, Span<nint> results)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        var given = new Tensor?[gradients.Length];
        for (var i = 0; i < given.Length; i++)
            given[i] = gradients[i] == 0 ? null : Tensor.Share(gradients[i]);
        var found = backward(given, saved);
        if (found.Length != results.Length)
            throw new InvalidOperationException($"a backward gave {found.Length} gradients for {results.Length} inputs: give one for each, null for none");
        for (var i = 0; i < found.Length; i++)
            results[i] = found[i] is { } gradient ? Tensor.Share(gradient.Handle).Surrender() : 0;
    }
}
