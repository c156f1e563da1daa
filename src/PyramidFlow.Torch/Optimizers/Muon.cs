namespace PyramidFlow.Torch;

/// <summary>
/// Muon (Jordan et al. 2024) for hidden matrices: the momentum's singular values are brought near 1 by Newton-Schulz
/// iterations before the step, so that all directions of a matrix learn at the same pace. Scaled by
/// 0.2 sqrt(max(rows, columns)) as by Liu et al. 2025 (arXiv 2502.16982), it takes AdamW's learning rate. All other
/// weights take AdamW steps.
/// </summary>
public sealed class Muon
{
    private const double Momentum = 0.95;
    private const int Iterations = 5;
    private const double A = 3.4445, B = -4.7750, C = 2.0315;

    private readonly FlatParameters parameters;
    private readonly AdamW rest;
    private readonly double weightDecay;
    private readonly (long[] Shape, long[] Starts)[] groups;

    /// <summary>Creates it beside an AdamW, whose first moment it shares as its momentum.</summary>
    /// <param name="parameters">The weights.</param>
    /// <param name="rest">Steps the weights that are no hidden matrices.</param>
    /// <param name="weightDecay">Decoupled weight decay per unit of learning rate.</param>
    /// <param name="isHidden">Whether a matrix of this key is a hidden one.</param>
    public Muon(FlatParameters parameters, AdamW rest, double weightDecay, Func<string, bool> isHidden)
    {
        (this.parameters, this.rest, this.weightDecay) = (parameters, rest, weightDecay);
        groups = [.. parameters.Layout().Where(p => p.Shape.Length == 2 && isHidden(p.Key))
            .GroupBy(p => (p.Shape[0], p.Shape[1]))
            .Select(g => (new[] { g.Key.Item1, g.Key.Item2 }, g.Select(p => p.Start).ToArray()))];
    }

    /// <summary>One update of all weights from the gradients there are.</summary>
    public void Step(double learningRate)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();

        // Matrices of one shape are orthogonalised together. Theirs are put back over what AdamW makes of them.
        var updated = groups.Select(group => (group, Values: Update(group.Shape, group.Starts, learningRate))).ToList();
        var momenta = groups.Select(group => Gather(rest.FirstMoment, group.Shape, group.Starts)).ToList();
        rest.Step(learningRate);
        for (var i = 0; i < updated.Count; i++)
        {
            Scatter(parameters.Values, updated[i].group, updated[i].Values);
            Scatter(rest.FirstMoment, updated[i].group, momenta[i]);
        }

        parameters.Refresh();
    }

    // Momentum is written back into AdamW's first moment before AdamW runs.
    private Tensor Update(long[] shape, long[] starts, double learningRate)
    {
        var gradient = Gather(parameters.Gradients, shape, starts);                                 // [m, r, c]
        var momentum = Gather(rest.FirstMoment, shape, starts).LerpInPlace(gradient, 1 - Momentum);
        Scatter(rest.FirstMoment, (shape, starts), momentum);
        var step = Orthogonalize(gradient.Lerp(momentum, Momentum));
        var scale = 0.2 * Math.Sqrt(Math.Max(shape[0], shape[1]));
        return (Gather(parameters.Values, shape, starts) * (1 - (learningRate * weightDecay))).AddInPlace(step, -learningRate * scale);
    }

    private static Tensor Orthogonalize(Tensor x)
    {
        var tall = x.Size(1) > x.Size(2);
        if (tall)
            x = x.Transpose(1, 2);
        x = x / ((x * x).Sum([1, 2], keepDim: true).Sqrt() + 1e-7);
        for (var i = 0; i < Iterations; i++)
        {
            var gram = x.Bmm(x.Transpose(1, 2));                                                    // [m, r, r]
            x = (x * A).Baddbmm((gram * B).Baddbmm(gram, gram, alpha: C), x);
        }

        return tall ? x.Transpose(1, 2) : x;
    }

    private static Tensor Gather(Tensor vector, long[] shape, long[] starts) =>
        Tensor.Stack([.. starts.Select(s => vector.Narrow(0, s, shape[0] * shape[1]).View(shape))]);

    private static void Scatter(Tensor vector, (long[] Shape, long[] Starts) group, Tensor values)
    {
        for (var i = 0; i < group.Starts.Length; i++)
            vector.Narrow(0, group.Starts[i], group.Shape[0] * group.Shape[1]).View(group.Shape).CopyFrom(values.Select(0, i));
    }
}
