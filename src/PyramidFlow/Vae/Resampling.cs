using PyramidFlow.Torch;

namespace PyramidFlow.Vae;

/// <summary>Halves height and width.</summary>
public sealed class CausalDownsample : Module
{
    private readonly CausalConv3d conv;

    /// <summary>Declares the layer.</summary>
    public CausalDownsample(long inputs, long outputs) => conv = new CausalConv3d(inputs, outputs, [3, 3, 3], [1, 2, 2]);

    /// <summary>[b, in, t, h, w] to [b, out, t, h / 2, w / 2], rounded up.</summary>
    public Tensor Forward(Tensor x, CausalPass pass) => conv.Forward(x, pass);
}

/// <summary>Makes one frame of the first and of every two later ones.</summary>
public sealed class CausalTemporalDownsample : Module
{
    private readonly CausalConv3d conv;

    /// <summary>Declares the layer.</summary>
    public CausalTemporalDownsample(long inputs, long outputs) => conv = new CausalConv3d(inputs, outputs, [3, 3, 3], [2, 1, 1]);

    /// <summary>[b, in, 1 + 2n, h, w] to [b, out, 1 + n, h, w].</summary>
    public Tensor Forward(Tensor x, CausalPass pass) => conv.Forward(x, pass);
}

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

/// <summary>Makes two frames of each, but one of a video's first: channels become frames.</summary>
public sealed class CausalTemporalUpsample : Module
{
    private readonly CausalConv3d conv;

    /// <summary>Declares the layer.</summary>
    public CausalTemporalUpsample(long inputs, long outputs) => conv = new CausalConv3d(inputs, 2 * outputs, kernel: 3);

    /// <summary>[b, in, t, h, w] to [b, out, 2t, h, w], or 2t - 1 frames at a video's start.</summary>
    public Tensor Forward(Tensor x, CausalPass pass)
    {
        if (pass.IsStart && x.Size(2) == 1)
            return conv.ForwardOddOutputs(x, pass);

        using var scope = new TensorScope();
        var y = conv.Forward(x, pass).Unflatten(1, -1, 2);                    // [b, out, 2, t, h, w]
        y = y.Transpose(2, 3).Flatten(2, 3);                                  // [b, out, 2t, h, w]
        return scope.Keep(pass.IsStart ? y.Narrow(2, 1, y.Size(2) - 1) : y);
    }
}
