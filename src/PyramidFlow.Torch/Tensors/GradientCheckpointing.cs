namespace PyramidFlow.Torch;

/// <summary>
/// Gradient checkpointing (Chen et al., arXiv 1604.06174): the activations of a block are not kept for backward but recomputed
/// from its inputs. One more forward pass, and the memory of one block instead of all.
/// </summary>
public static class GradientCheckpointing
{
    /// <summary>Applies a block with one input and one result.</summary>
    /// <param name="block">
    /// The block. It runs again in backward and must give the same results: no random samples, no changes in place of its
    /// inputs. Gradients of its weights accumulate as usual.
    /// </param>
    /// <param name="x">Input of the block.</param>
    /// <returns>Result of the block, in the caller's scope.</returns>
    public static Tensor Run(Func<Tensor, Tensor> block, Tensor x) => Run(inputs => [block(inputs[0])], x)[0];

    /// <summary>Applies a block with two inputs and two results.</summary>
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

    /// <summary>Applies a block with any number of inputs and results.</summary>
    /// <inheritdoc cref="Run(Func{Tensor, Tensor}, Tensor)"/>
    public static Tensor[] Run(Func<Tensor[], Tensor[]> block, params Tensor[] inputs)
    {
        // Without backward nothing is recomputed, and kernels need not be those of a recorded pass.
        if (!NoGrad.IsRecording)
            return block(inputs);

        // Weights of the block need gradients even if no input does, as in a first block: an empty leaf connects them to the graph.
        using var scope = new TensorScope();
        var anchor = Tensor.Empty([0]);
        anchor.RequiresGrad = true;
        bool[] wanted = [.. inputs.Select(input => input.RequiresGrad)];
        return [.. CustomFunction.Apply([.. inputs, anchor], () => (AsForGradients(() => block(inputs)), inputs), (gradients, saved) => Recompute(block, wanted, gradients, saved))
            .Select(scope.Keep)];
    }

    // Both passes use the same kernels, although only the second one records.
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
