namespace PyramidFlow.Torch;

/// <summary>Divides the last dimension by its root mean square, computed in float32, and scales it.</summary>
public sealed class RmsNorm : Module
{
    private readonly Parameter weight;
    private readonly double eps;

    /// <summary>Declares the layer.</summary>
    public RmsNorm(long dim, double eps = 1e-6)
    {
        weight = new Parameter([dim], Initializers.Ones);
        this.eps = eps;
    }

    /// <summary>[..., dim] to [..., dim], of the input's element type.</summary>
    public Tensor Forward(Tensor x) => x.Device.Type == DeviceType.Cuda && Tensor.HasRmsNorm
        ? x.RmsNorm([x.Size(-1)], weight, eps)
        : Fused.RmsNorm(x, weight, eps);
}
