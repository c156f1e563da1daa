using System.Runtime.InteropServices;

namespace PyramidFlow.Torch;

/// <summary>A function with its own backward, for code that autograd cannot record or should not keep tensors of.</summary>
/// <example><code>
/// var y = CustomFunction.Apply([x], () => [x.Exp()], gradients => [gradients[0]! * factor])[0];
/// </code></example>
public static class CustomFunction
{
    /// <summary>Runs a function without recording and attaches a backward to its results.</summary>
    /// <param name="inputs">Tensors that gradients can flow to; without one that requires a gradient nothing is attached.</param>
    /// <param name="forward">The function; its results have floating point types.</param>
    /// <param name="backward">
    /// Maps the gradients of the results (null where there is none) to those of the inputs, in order (null for none). It runs
    /// without recording, in its own scope, on the thread of <see cref="Tensor.Backward(Tensor?, bool)"/>, which passes its
    /// exceptions on. Tensors of the caller's scope may be disposed by then: return them as saved instead.
    /// </param>
    /// <returns>The results, in the caller's scope.</returns>
    public static Tensor[] Apply(Tensor[] inputs, Func<Tensor[]> forward, Func<Tensor?[], Tensor?[]> backward) =>
        Apply(inputs, () => (forward(), []), (gradients, _) => backward(gradients));

    /// <summary>Like the overload without saved tensors; the graph keeps the saved tensors alive for the backward.</summary>
    /// <param name="inputs">Tensors that gradients can flow to; without one that requires a gradient nothing is attached.</param>
    /// <param name="forward">The function; returns its results and the tensors that the backward needs, which can be inputs or results.</param>
    /// <param name="backward">Maps the gradients of the results and the saved tensors to the gradients of the inputs.</param>
    /// <returns>The results, in the caller's scope.</returns>
    /// <exception cref="ArgumentException">A result that needs a gradient has no floating point type.</exception>
    public static Tensor[] Apply(Tensor[] inputs, Func<(Tensor[] Outputs, Tensor[] Saved)> forward,
        Func<Tensor?[], Tensor[], Tensor?[]> backward)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var (results, needed) = forward();

        // Detached, because a result may be an input or a weight, whose own history must stay.
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

/// <summary>A node of the autograd graph whose backward is a C# function; lives as long as the graph.</summary>
internal sealed unsafe class BackwardNode
{
    // Passes the exception of a callback to the Backward on the same thread, because C++ passes only text.
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
    /// <param name="inputs">Tensors that receive gradients.</param>
    /// <param name="outputs">Tensors without history; this node becomes their history.</param>
    /// <param name="backward">Maps the gradients of the outputs and the saved tensors to the gradients of the inputs.</param>
    /// <param name="saved">Tensors outside any scope; freed with the graph.</param>
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

    /// <summary>Returns and clears the exception of the last failed callback on this thread; null if libtorch itself failed.</summary>
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
            // A nested backward reports only the innermost exception.
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
