namespace PyramidFlow.Torch;

/// <summary>Settings of <see cref="AdamW"/>.</summary>
public sealed record AdamWOptions
{
    /// <summary>Decay of the first moment, in [0, 1).</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of the second moment, in [0, 1).</summary>
    public double Beta2 { get; init; } = 0.95;

    /// <summary>Added to the denominator.</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>Decoupled weight decay per unit of learning rate.</summary>
    public double WeightDecay { get; init; } = 1e-4;

    /// <summary>Whether the moments are held in 8-bit codes, 2.03 bytes of a weight instead of 8 (<see cref="AdamW.FirstMoment"/>).</summary>
    public bool EightBitMoments { get; init; }

    /// <summary>Whether only weights of two or more dimensions decay, and not biases and norm scales.</summary>
    public bool DecayMatricesOnly { get; init; }
}

/// <summary>Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), on one vector of weights.</summary>
public sealed class AdamW : IDisposable
{
    // On a CPU, elements updated together: few enough that all passes but the first read from its caches.
    private const long Piece = 1 << 18;

    // On a GPU, elements whose moments are float32 at the same time.
    internal const long DecodedPiece = 1 << 24;

    private readonly FlatParameters parameters;
    private readonly AdamWOptions options;
    private readonly List<(long Start, long Length)> decayed = [];

    /// <summary>Creates the optimiser with zero moments.</summary>
    public AdamW(FlatParameters parameters, AdamWOptions? options = null)
    {
        this.parameters = parameters;
        this.options = options ?? new AdamWOptions();
        First = new MomentVector(parameters, this.options.EightBitMoments, isSigned: true);
        Second = new MomentVector(parameters, this.options.EightBitMoments, isSigned: false);
        FindDecayed();
    }

    /// <summary>Running mean of the gradient of the weights that this process updates.</summary>
    /// <exception cref="InvalidOperationException">The moments are held in 8-bit codes.</exception>
    public Tensor FirstMoment => First.Values;

    /// <summary>Running mean of the squared gradient of the weights that this process updates.</summary>
    /// <exception cref="InvalidOperationException">The moments are held in 8-bit codes.</exception>
    public Tensor SecondMoment => Second.Values;

    /// <summary>Running mean of the gradient, in either form.</summary>
    internal MomentVector First { get; }

    /// <summary>Running mean of the squared gradient, in either form.</summary>
    internal MomentVector Second { get; }

    /// <summary>Number of steps taken; set it to resume.</summary>
    public long Steps { get; set; }

    /// <summary>Updates the weights from the current gradients.</summary>
    public void Step(double learningRate)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        Steps++;
        foreach (var (start, length) in decayed)
            parameters.Values.Narrow(0, start, length).MulInPlace(1 - (learningRate * options.WeightDecay));
        foreach (var (first, count) in parameters.Division.SharesOf(parameters.Count))
        {
            var piece = parameters.Values.Device.Type == DeviceType.Cpu ? Piece : options.EightBitMoments ? DecodedPiece : Math.Max(1, count);
            for (var start = 0L; start < count; start += piece)
                Update(first + start, Math.Min(piece, count - start), learningRate);
        }

        parameters.Refresh();
    }

    private void Update(long start, long length, double learningRate)
    {
        using var scope = new TensorScope();
        var (values, gradient, mean, square) = (Part(parameters.Values), Part(parameters.HeldGradients), First.Read(start, length), Second.Read(start, length));
        mean.LerpInPlace(gradient, 1 - options.Beta1);
        square.MulInPlace(options.Beta2).AddcmulInPlace(gradient, gradient, 1 - options.Beta2);
        var correction1 = 1 - Math.Pow(options.Beta1, Steps);
        var correction2 = 1 - Math.Pow(options.Beta2, Steps);
        var denominator = square.Sqrt().MulInPlace(1 / Math.Sqrt(correction2)).AddInPlace(options.Epsilon);
        values.AddcdivInPlace(mean, denominator, -learningRate / correction1);
        First.Write(start, mean, 2 * Steps);
        Second.Write(start, square, (2 * Steps) + 1);

        Tensor Part(Tensor all) => all.Narrow(0, start, length);
    }

    // Merges adjacent weights that decay into one range of what this process updates.
    private void FindDecayed()
    {
        var (first, held) = parameters.Held;
        foreach (var (_, shape, begin) in parameters.Layout())
        {
            if (options.DecayMatricesOnly && shape.Length < 2)
                continue;
            var start = Math.Max(begin, first) - first;
            var length = Math.Min(begin + Shapes.ElementCount(shape), first + held) - first - start;
            if (length <= 0)
                continue;
            if (decayed.Count > 0 && decayed[^1].Start + decayed[^1].Length == start)
                decayed[^1] = (decayed[^1].Start, decayed[^1].Length + length);
            else
                decayed.Add((start, length));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        First.Dispose();
        Second.Dispose();
    }
}

/// <summary>
/// Muon (Jordan et al. 2024) for hidden matrices: Newton-Schulz iterations bring the singular values of the momentum close to 1
/// before the step, so that all directions of a matrix learn at the same pace. The scale 0.2 sqrt(max(rows, columns)) of Liu et
/// al. 2025 (arXiv 2502.16982) lets it use the learning rate of AdamW. All other weights take AdamW steps.
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

    /// <summary>Creates the optimiser on top of an AdamW; the first moment of AdamW serves as momentum.</summary>
    /// <param name="parameters">The weights.</param>
    /// <param name="rest">Optimiser of the weights that are not hidden matrices.</param>
    /// <param name="weightDecay">Decoupled weight decay per unit of learning rate.</param>
    /// <param name="isHidden">Whether the matrix of a key is a hidden one.</param>
    /// <exception cref="ArgumentException">The weights are divided among processes, which may cut a matrix, or the moments are in 8-bit codes.</exception>
    public Muon(FlatParameters parameters, AdamW rest, double weightDecay, Func<string, bool> isHidden)
    {
        if (rest.First.IsInCodes)
            throw new ArgumentException("Muon's momentum is not held in 8-bit codes", nameof(rest));
        if (parameters.Division.Held is not null)
            throw new ArgumentException("Muon needs whole matrices, and shares of the weights cut them", nameof(parameters));
        (this.parameters, this.rest, this.weightDecay) = (parameters, rest, weightDecay);
        groups = [.. parameters.Layout().Where(p => p.Shape.Length == 2 && isHidden(p.Key))
            .GroupBy(p => (p.Shape[0], p.Shape[1]))
            .Select(g => (new[] { g.Key.Item1, g.Key.Item2 }, g.Select(p => p.Start).ToArray()))];
    }

    /// <summary>Updates all weights from the current gradients.</summary>
    public void Step(double learningRate)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();

        // Matrices of one shape are orthogonalised together, and their results then replace those of AdamW.
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

    // Writes the momentum back into the first moment of AdamW before AdamW runs.
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
