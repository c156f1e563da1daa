using PyramidFlow.Torch.Interop;

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
