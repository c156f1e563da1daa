using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Halves height and width.</summary>
public sealed class CausalDownsample : Module
{
    private readonly CausalConv3d conv;

    /// <summary>Declares the layer.</summary>
    public CausalDownsample(long inputs, long outputs) => conv = new CausalConv3d(inputs, outputs, [3, 3, 3], [1, 2, 2]);

    /// <summary>[b, in, t, h, w] to [b, out, t, h / 2, w / 2], rounded up.</summary>
    public Tensor Forward(Tensor x, CausalPass pass) => conv.Forward(x, pass);
}
