using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Makes two frames of each, but one of a video's first: channels become frames.</summary>
public sealed class CausalTemporalUpsample : Module
{
    private readonly CausalConv3d conv;

    /// <summary>Declares the layer.</summary>
    public CausalTemporalUpsample(long inputs, long outputs) => conv = new CausalConv3d(inputs, 2 * outputs, kernel: 3);

    /// <summary>[b, in, t, h, w] to [b, out, 2t, h, w], or 2t - 1 frames at a video's start.</summary>
    public Tensor Forward(Tensor x, CausalPass pass)
    {
        if (pass.IsStart && x.Size(2) == 1 && !pass.ComputesZeroTaps)
            return conv.ForwardOddOutputs(x, pass);

        using var scope = new TensorScope();
        var y = conv.Forward(x, pass).Unflatten(1, -1, 2);                    // [b, out, 2, t, h, w]
        y = y.Transpose(2, 3).Flatten(2, 3);                                  // [b, out, 2t, h, w]
        return scope.Keep(pass.IsStart ? y.Narrow(2, 1, y.Size(2) - 1) : y);
    }
}
