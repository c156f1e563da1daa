using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Group normalisation whose statistics are those of each frame by itself.</summary>
public sealed class CausalGroupNorm : Module
{
    private readonly Parameter weight;
    private readonly Parameter bias;
    private readonly long groups;
    private readonly double eps;

    /// <summary>Declares the layer.</summary>
    /// <param name="groups">Number of groups; divides the channels.</param>
    /// <param name="channels">Channels.</param>
    /// <param name="eps">Added to the variance.</param>
    public CausalGroupNorm(long groups, long channels, double eps = 1e-6)
    {
        if (channels % groups != 0)
            throw new ArgumentException($"{channels} channels do not divide into {groups} groups", nameof(groups));
        weight = new Parameter([channels], Initializers.Ones);
        bias = new Parameter([channels], Initializers.Zeros);
        this.groups = groups;
        this.eps = eps;
    }

    /// <summary>[b, c, t, h, w] to the same.</summary>
    public Tensor Forward(Tensor x)
    {
        using var scope = new TensorScope();
        var y = Frames.Merge(x).GroupNorm(groups, weight, bias, eps);         // [b * t, c, h, w]
        return scope.Keep(Frames.Split(y, x.Size(0)));                        // [b, c, t, h, w]
    }
}
