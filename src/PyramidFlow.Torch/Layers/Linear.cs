namespace PyramidFlow.Torch;

/// <summary>y = x W^T + b; weight [out, in].</summary>
public sealed class Linear : Module
{
    private readonly Parameter weight;
    private readonly Parameter? bias;

    /// <summary>Declares the layer.</summary>
    public Linear(long inputs, long outputs, bool bias = true)
    {
        weight = new Parameter([outputs, inputs], Initializers.FanIn(inputs));
        this.bias = bias ? new Parameter([outputs], Initializers.FanIn(inputs)) : null;
    }

    /// <summary>Declares the layer with an initialiser of its own; the bias, if any, starts at zero.</summary>
    public Linear(long inputs, long outputs, Initializer initializer, bool bias = true)
    {
        weight = new Parameter([outputs, inputs], initializer);
        this.bias = bias ? new Parameter([outputs], Initializers.Zeros) : null;
    }

    /// <summary>Weight, [out, in].</summary>
    public Parameter Weight => weight;

    /// <summary>Bias, [out], if there is one.</summary>
    public Parameter? Bias => bias;

    /// <summary>Applies it to the last dimension.</summary>
    public Tensor Forward(Tensor x) => x.Linear(weight, bias?.Value);
}
