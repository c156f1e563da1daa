using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Queries, keys and values of a stream with normalised heads (FLUX <c>attn</c> of a single-stream block).</summary>
internal sealed class FluxAttention(long dim, long heads) : Module
{
    private readonly RmsNorm normQ = new(dim / heads);
    private readonly RmsNorm normK = new(dim / heads);
    private readonly Linear toQ = Projection.New(dim, dim);
    private readonly Linear toK = Projection.New(dim, dim);
    private readonly Linear toV = Projection.New(dim, dim);

    /// <summary>[b, n, d] to normalised queries [b, n, heads, head].</summary>
    public Tensor Queries(Tensor x) => normQ.Forward(toQ.Forward(x).Unflatten(-1, heads, -1));

    /// <summary>[b, n, d] to normalised keys and values, each [b, n, heads, head].</summary>
    public (Tensor Keys, Tensor Values) KeysValues(Tensor x) =>
        (normK.Forward(toK.Forward(x).Unflatten(-1, heads, -1)), toV.Forward(x).Unflatten(-1, heads, -1));
}
