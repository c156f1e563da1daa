using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Doubles height and width: channels become 2x2 pixels.</summary>
public sealed class CausalUpsample : Module
{
    private readonly CausalConv3d conv;

    /// <summary>Declares the layer.</summary>
    public CausalUpsample(long inputs, long outputs) => conv = new CausalConv3d(inputs, 4 * outputs, kernel: 3);

    /// <summary>[b, in, t, h, w] to [b, out, t, 2h, 2w].</summary>
    public Tensor Forward(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        var y = conv.Forward(x, pass).Unflatten(1, -1, 2, 2);                 // [b, out, 2, 2, t, h, w]
        var s = y.Shape;
        return scope.Keep(y.Permute(0, 1, 4, 5, 2, 6, 3).Reshape(s[0], s[1], s[4], 2 * s[5], 2 * s[6]));
    }
}
