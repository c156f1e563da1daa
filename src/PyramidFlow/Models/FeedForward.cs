using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>The transformer's MLP: four times as wide inside, GELU in its tanh form.</summary>
public sealed class FeedForward(long dim) : Module
{
    [Key("net.0.proj")]
    private readonly Linear wide = Projection.New(dim, 4 * dim);

    [Key("net.2")]
    private readonly Linear narrow = Projection.New(4 * dim, dim);

    /// <summary>[b, n, d] to [b, n, d].</summary>
    public Tensor Forward(Tensor x) => narrow.Forward(Fused.Gelu(wide.Forward(x)));
}
