using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Torch;

/// <summary>Settings of <see cref="AdamW"/>.</summary>
public sealed record AdamWOptions
{
    /// <summary>Decay of the gradient's running mean; in [0, 1).</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of the squared gradient's running mean; in [0, 1).</summary>
    public double Beta2 { get; init; } = 0.95;

    /// <summary>Added to the denominator.</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>Decoupled weight decay per unit of learning rate.</summary>
    public double WeightDecay { get; init; } = 1e-4;

    /// <summary>Whether only weights of two or more dimensions decay, not biases and the scales of norms.</summary>
    public bool DecayMatricesOnly { get; init; }
}

/// <summary>Adam with decoupled weight decay (Loshchilov and Hutter), on one vector of weights.</summary>
public sealed class AdamW : IDisposable
{
    // Weights that are updated together on a CPU: few enough that all passes over them but the first meet its caches.
    private const long Piece = 1 << 18;

    private readonly FlatParameters parameters;
    private readonly AdamWOptions options;
    private readonly List<(long Start, long Length)> decayed = [];

    /// <summary>Creates the optimiser with zero moments.</summary>
    public AdamW(FlatParameters parameters, AdamWOptions? options = null)
    {
        this.parameters = parameters;
        this.options = options ?? new AdamWOptions();
        FirstMoment = TensorScope.Release(parameters.Values.ZerosLike());
        SecondMoment = TensorScope.Release(parameters.Values.ZerosLike());
        FindDecayed();
    }

    /// <summary>Running mean of the gradient, [n].</summary>
    public Tensor FirstMoment { get; }

    /// <summary>Running mean of the squared gradient, [n].</summary>
    public Tensor SecondMoment { get; }

    /// <summary>Steps taken; set it when resuming.</summary>
    public long Steps { get; set; }

    /// <summary>One update from the gradients there are.</summary>
    public void Step(double learningRate)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        Steps++;
        foreach (var (start, length) in decayed)
            parameters.Values.Narrow(0, start, length).MulInPlace(1 - (learningRate * options.WeightDecay));
        var count = parameters.Values.Size(0);
        var piece = parameters.Values.Device.Type == DeviceType.Cpu ? Piece : count;
        for (var start = 0L; start < count; start += piece)
            Update(start, Math.Min(piece, count - start), learningRate);
        parameters.Refresh();
    }

    private void Update(long start, long length, double learningRate)
    {
        using var scope = new TensorScope();
        var (values, gradient, mean, square) = (Some(parameters.Values), Some(parameters.Gradients), Some(FirstMoment), Some(SecondMoment));
        mean.LerpInPlace(gradient, 1 - options.Beta1);
        square.MulInPlace(options.Beta2).AddcmulInPlace(gradient, gradient, 1 - options.Beta2);
        var correction1 = 1 - Math.Pow(options.Beta1, Steps);
        var correction2 = 1 - Math.Pow(options.Beta2, Steps);
        var denominator = square.Sqrt().MulInPlace(1 / Math.Sqrt(correction2)).AddInPlace(options.Epsilon);
        values.AddcdivInPlace(mean, denominator, -learningRate / correction1);

        Tensor Some(Tensor all) => all.Narrow(0, start, length);
    }

    // Neighbouring weights that decay are one range: all of them, unless vectors are spared.
    private void FindDecayed()
    {
        foreach (var (_, shape, start) in parameters.Layout())
        {
            if (options.DecayMatricesOnly && shape.Length < 2)
                continue;
            var length = Shapes.ElementCount(shape);
            if (decayed.Count > 0 && decayed[^1].Start + decayed[^1].Length == start)
                decayed[^1] = (decayed[^1].Start, decayed[^1].Length + length);
            else
                decayed.Add((start, length));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        FirstMoment.Dispose();
        SecondMoment.Dispose();
    }
}
