using PyramidFlow.Torch;

namespace PyramidFlow.Transformers;

/// <summary>Queries, keys and values of a stream with normalised heads (FLUX <c>attn</c> of a single-stream block).</summary>
public sealed class FluxAttention(long dim, long heads) : Module
{
    private readonly RmsNorm normQ = new(dim / heads);
    private readonly RmsNorm normK = new(dim / heads);
    private readonly Linear toQ = FluxInit.Linear(dim, dim);
    private readonly Linear toK = FluxInit.Linear(dim, dim);
    private readonly Linear toV = FluxInit.Linear(dim, dim);

    /// <summary>[b, n, d] to normalised queries [b, n, heads, head].</summary>
    public Tensor Queries(Tensor x) => normQ.Forward(toQ.Forward(x).Unflatten(-1, heads, -1));

    /// <summary>[b, n, d] to normalised keys and values, each [b, n, heads, head].</summary>
    public (Tensor Keys, Tensor Values) KeysValues(Tensor x) =>
        (normK.Forward(toK.Forward(x).Unflatten(-1, heads, -1)), toV.Forward(x).Unflatten(-1, heads, -1));
}

/// <summary>Attention of text and picture streams, each with projections of its own, over their joint sequence.</summary>
public sealed class FluxJointAttention(long dim, long heads) : Module
{
    private readonly RmsNorm normQ = new(dim / heads);
    private readonly RmsNorm normK = new(dim / heads);
    private readonly Linear toQ = FluxInit.Linear(dim, dim);
    private readonly Linear toK = FluxInit.Linear(dim, dim);
    private readonly Linear toV = FluxInit.Linear(dim, dim);
    private readonly Linear addKProj = FluxInit.Linear(dim, dim);
    private readonly Linear addVProj = FluxInit.Linear(dim, dim);
    private readonly Linear addQProj = FluxInit.Linear(dim, dim);

    [Key("to_out.0")]
    private readonly Linear toOut = FluxInit.Linear(dim, dim);
    private readonly Linear toAddOut = FluxInit.Linear(dim, dim);
    private readonly RmsNorm normAddedQ = new(dim / heads);
    private readonly RmsNorm normAddedK = new(dim / heads);

    /// <summary>Attends.</summary>
    /// <param name="text">Text tokens, [b, l, d]; null when they are in the pass already.</param>
    /// <param name="x">Picture tokens, [b, n, d].</param>
    /// <param name="pass">The run.</param>
    /// <returns>What to add to each, shaped like it.</returns>
    internal (Tensor? Text, Tensor X) Forward(Tensor? text, Tensor x, BlockPass pass)
    {
        var q = normQ.Forward(Heads(toQ, x));
        var k = normK.Forward(Heads(toK, x));
        var v = Heads(toV, x);                                                              // [b, n, h, d/h]
        if (text is null)
            return (null, toOut.Forward(pass.Attend(q, k, v)!));

        q = Tensor.Cat([normAddedQ.Forward(Heads(addQProj, text)), q], 1);
        k = Tensor.Cat([normAddedK.Forward(Heads(addKProj, text)), k], 1);
        v = Tensor.Cat([Heads(addVProj, text), v], 1);                                      // [b, l + n, h, d/h]
        var parts = pass.Attend(q, k, v)!.Split([text.Size(1), x.Size(1)], 1);
        return (toAddOut.Forward(parts[0]), toOut.Forward(parts[1]));
    }

    private Tensor Heads(Linear linear, Tensor x) => linear.Forward(x).Unflatten(-1, heads, -1);
}

/// <summary>The released trainer's starting weights.</summary>
internal static class FluxInit
{
    internal static Linear Linear(long inputs, long outputs) => new(inputs, outputs, Initializers.XavierUniform(inputs, outputs));
}
