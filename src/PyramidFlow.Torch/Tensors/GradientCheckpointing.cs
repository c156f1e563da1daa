namespace PyramidFlow.Torch;

/// <summary>
/// Gradient checkpointing (Chen et al., arXiv 1604.06174): what a block computes is not kept for backward but computed
/// again there, from its inputs; one more forward for the memory of one block instead of all.
/// </summary>
public static class GradientCheckpointing
{
    /// <summary>Applies a block of one input and one result.</summary>
    /// <param name="block">
    /// The block. It runs a second time in backward and must compute the same then: no draws from a generator, no changes
    /// in place of what it reads. Gradients of weights it uses accumulate as usual.
    /// </param>
    /// <param name="x">Its input.</param>
    /// <returns>Its result, in the caller's scope.</returns>
    public static Tensor Run(Func<Tensor, Tensor> block, Tensor x) => Run(inputs => [block(inputs[0])], x)[0];

    /// <summary>Applies a block of two inputs and two results.</summary>
    /// <inheritdoc cref="Run(Func{Tensor, Tensor}, Tensor)"/>
    public static (Tensor, Tensor) Run(Func<Tensor, Tensor, (Tensor, Tensor)> block, Tensor a, Tensor b)
    {
        var results = Run(
            inputs =>
            {
                var (first, second) = block(inputs[0], inputs[1]);
                return [first, second];
            },
            a,
            b);
        return (results[0], results[1]);
    }

    /// <summary>Applies a block of any number of inputs and results.</summary>
    /// <inheritdoc cref="Run(Func{Tensor, Tensor}, Tensor)"/>
    public static Tensor[] Run(Func<Tensor[], Tensor[]> block, params Tensor[] inputs)
    {
        // Weights inside want gradients even where no input does, as in a first block: a leaf of no elements leads there.
        using var scope = new TensorScope();
        var anchor = Tensor.Empty([0]);
        anchor.RequiresGrad = true;
        bool[] wanted = [.. inputs.Select(input => input.RequiresGrad)];
        return [.. CustomFunction.Apply([.. inputs, anchor], () => (AsForGradients(() => block(inputs)), inputs), (gradients, saved) => Recompute(block, wanted, gradients, saved))
            .Select(scope.Keep)];
    }

    // The same the first time, when nothing is recorded, and the second.
    private static Tensor[] AsForGradients(Func<Tensor[]> block)
    {
        var before = Fused.IsForGradients;
        Fused.IsForGradients = true;
        try
        {
            return block();
        }
        finally
        {
            Fused.IsForGradients = before;
        }
    }

    private static Tensor?[] Recompute(Func<Tensor[], Tensor[]> block, bool[] wanted, Tensor?[] gradients, Tensor[] saved)
    {
        using var recording = NoGrad.Suspend();
        Tensor[] inputs = [.. saved.Select(tensor => tensor.Detach())];
        for (var i = 0; i < inputs.Length; i++)
            inputs[i].RequiresGrad = wanted[i];
        var results = AsForGradients(() => block(inputs));
        int[] roots = [.. Enumerable.Range(0, results.Length).Where(i => gradients[i] is not null && results[i].RequiresGrad)];
        if (roots.Length > 0)
            Tensor.Backward([.. roots.Select(i => results[i])], [.. roots.Select(i => gradients[i])]);
        return [.. inputs.Select(input => input.Grad), null];
    }
}
