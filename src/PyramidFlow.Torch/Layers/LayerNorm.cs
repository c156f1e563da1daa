namespace PyramidFlow.Torch;

/// <summary>Normalises the last dimension to mean 0 and variance 1, then scales and shifts if it has weights.</summary>
public sealed class LayerNorm : Module
{
    private readonly Parameter? weight;
    private readonly Parameter? bias;
    private readonly long[] shape;
    private readonly double eps;

    /// <summary>Declares the layer.</summary>
    public LayerNorm(long dim, bool affine = true, double eps = 1e-5)
    {
        weight = affine ? new Parameter([dim], Initializers.Ones) : null;
        bias = affine ? new Parameter([dim], Initializers.Zeros) : null;
        shape = [dim];
        this.eps = eps;
    }

    /// <summary>[..., dim] to [..., dim].</summary>
    public Tensor Forward(Tensor x) => x.LayerNorm(shape, weight?.Value, bias?.Value, eps);
}
