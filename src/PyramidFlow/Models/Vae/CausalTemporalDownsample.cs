using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Makes one frame of the first and of every two later ones.</summary>
public sealed class CausalTemporalDownsample : Module
{
    private readonly CausalConv3d conv;

    /// <summary>Declares the layer.</summary>
    public CausalTemporalDownsample(long inputs, long outputs) => conv = new CausalConv3d(inputs, outputs, [3, 3, 3], [2, 1, 1]);

    /// <summary>[b, in, 1 + 2n, h, w] to [b, out, 1 + n, h, w].</summary>
    public Tensor Forward(Tensor x, CausalPass pass) => conv.Forward(x, pass);
}
