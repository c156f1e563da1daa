using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>FLUX single-stream block: attention and MLP side by side on the joint sequence.</summary>
internal sealed class FluxSingleBlock(long dim, long heads) : Module
{
    private readonly AdaLayerNorm norm = new(dim, 3);
    private readonly Linear projMlp = Projection.New(dim, 4 * dim);
    private readonly Linear projOut = Projection.New(5 * dim, dim);
    private readonly FluxAttention attn = new(dim, heads);

    /// <summary>Modulation from silu(conditioning) [rows, d]: [rows, 3d].</summary>
    public Tensor Modulate(Tensor activated) => norm.Forward(activated);

    /// <summary>Runs the block.</summary>
    /// <param name="x">Tokens, [b, n, d].</param>
    /// <param name="modulation">[b, 3d].</param>
    /// <param name="pass">The pass.</param>
    /// <param name="outputs">Number of tokens at the end whose output is wanted; the others serve as keys only. Null for none.</param>
    /// <returns>[b, outputs, d]; null for none.</returns>
    internal Tensor? Forward(Tensor x, Tensor modulation, BlockPass pass, long? outputs)
    {
        using var scope = new TensorScope();
        var mod = AdaLayerNorm.Split(modulation, 1)[0];
        var h = mod.Apply(x);                                                               // [b, n, d]
        var (k, v) = attn.KeysValues(h);                                                    // [b, n, heads, d/heads]
        if (outputs is not { } count)
        {
            pass.Attend(null, k, v);
            return null;
        }

        if (count < x.Size(1))
            (x, h) = (Last(x, count), Last(h, count));
        var a = pass.Attend(attn.Queries(h), k, v)!;                                        // [b, outputs, d]
        var m = Fused.Gelu(projMlp.Forward(h));                                            // [b, outputs, 4d]
        return scope.Keep(mod.Add(x, projOut.Forward(a, m)));
    }

    private static Tensor Last(Tensor x, long count) => x.Narrow(1, x.Size(1) - count, count);
}

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
