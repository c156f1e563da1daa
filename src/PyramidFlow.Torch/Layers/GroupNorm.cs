namespace PyramidFlow.Torch;

/// <summary>Normalises groups of channels over all positions, then scales and shifts each channel.</summary>
public sealed class GroupNorm : Module
{
    private readonly Parameter weight;
    private readonly Parameter bias;
    private readonly long groups;
    private readonly double eps;

    /// <summary>Declares the layer.</summary>
    public GroupNorm(long groups, long channels, double eps = 1e-6)
    {
        if (channels % groups != 0)
            throw new ArgumentException($"{channels} channels do not divide into {groups} groups");
        weight = new Parameter([channels], Initializers.Ones);
        bias = new Parameter([channels], Initializers.Zeros);
        this.groups = groups;
        this.eps = eps;
    }

    /// <summary>Scale, [channels].</summary>
    public Parameter Weight => weight;

    /// <summary>Shift, [channels].</summary>
    public Parameter Bias => bias;

    /// <summary>[b, c, ...] to the same.</summary>
    public Tensor Forward(Tensor x) => x.GroupNorm(groups, weight, bias, eps);
}
