using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Two times norm, activation and causal convolution, beside a shortcut.</summary>
public sealed class CausalResnetBlock : Module
{
    private readonly CausalGroupNorm norm1;
    private readonly CausalConv3d conv1;
    private readonly CausalGroupNorm norm2;
    private readonly CausalConv3d conv2;
    private readonly CausalConv3d? convShortcut;
    private readonly Func<Tensor, Tensor> activation;

    /// <summary>Declares the block.</summary>
    /// <param name="inputs">Channels in.</param>
    /// <param name="outputs">Channels out; where they differ from the inputs the shortcut is a 1x1 convolution.</param>
    /// <param name="norm">Groups, eps and activation.</param>
    public CausalResnetBlock(long inputs, long outputs, ResnetSettings norm)
    {
        norm1 = new CausalGroupNorm(norm.Groups, inputs, norm.Eps);
        conv1 = new CausalConv3d(inputs, outputs, kernel: 3);
        norm2 = new CausalGroupNorm(norm.Groups, outputs, norm.Eps);
        conv2 = new CausalConv3d(outputs, outputs, kernel: 3);
        convShortcut = inputs == outputs ? null : new CausalConv3d(inputs, outputs, kernel: 1);
        activation = VaeActivation.Get(norm.Activation);
    }

    /// <summary>[b, in, t, h, w] to [b, out, t, h, w].</summary>
    /// <param name="x">Features.</param>
    /// <param name="pass">Where in the video they stand.</param>
    public Tensor Forward(Tensor x, CausalPass pass) =>
        pass.Recomputes ? GradientCheckpointing.Run(input => Compute(input, pass), x) : Compute(x, pass);

    private Tensor Compute(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        var h = Half(norm1, conv1, x, pass);                                  // [b, out, t, h, w]
        h = Half(norm2, conv2, h, pass);                                      // [b, out, t, h, w]
        return scope.Keep(h + (convShortcut?.Forward(x, pass) ?? x));         // [b, out, t, h, w]
    }

    private Tensor Half(CausalGroupNorm norm, CausalConv3d conv, Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        return scope.Keep(conv.Forward(activation(norm.Forward(x)), pass));
    }
}
