using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Attention of text and picture streams, each with projections of its own, over their joint sequence. The released
/// checkpoints differ in how they call the norms of the text's queries and keys, which are therefore declared by those who
/// derive from it.
/// </summary>
internal abstract class JointAttention : Module
{
    private readonly long heads;
    private readonly RmsNorm normQ;
    private readonly RmsNorm normK;
    private readonly Linear toQ;
    private readonly Linear toK;
    private readonly Linear toV;
    private readonly Linear addKProj;
    private readonly Linear addVProj;
    private readonly Linear addQProj;

    [Key("to_out.0")]
    private readonly Linear toOut;
    private readonly Linear? toAddOut;

    /// <summary>Declares it.</summary>
    /// <param name="dim">Width of both streams.</param>
    /// <param name="heads">Heads; they divide the width.</param>
    /// <param name="eps">Added to the mean square in the norms of queries and keys.</param>
    /// <param name="contextPreOnly">Whether nobody reads the text after it, which then has no output.</param>
    private protected JointAttention(long dim, long heads, double eps, bool contextPreOnly)
    {
        this.heads = heads;
        (normQ, normK) = (new RmsNorm(dim / heads, eps), new RmsNorm(dim / heads, eps));
        (toQ, toK, toV) = (Projection.New(dim, dim), Projection.New(dim, dim), Projection.New(dim, dim));
        (addKProj, addVProj, addQProj) = (Projection.New(dim, dim), Projection.New(dim, dim), Projection.New(dim, dim));
        toOut = Projection.New(dim, dim);
        toAddOut = contextPreOnly ? null : Projection.New(dim, dim);
    }

    private protected abstract RmsNorm TextQueryNorm { get; }

    private protected abstract RmsNorm TextKeyNorm { get; }

    /// <summary>Attends.</summary>
    /// <param name="text">Text tokens, [b, l, d]; null when they are in the pass already.</param>
    /// <param name="x">Picture tokens, [b, n, d].</param>
    /// <param name="pass">The run.</param>
    /// <returns>What to add to each, shaped like it.</returns>
    internal (Tensor? Text, Tensor X) Forward(Tensor? text, Tensor x, BlockPass pass)
    {
        var q = normQ.Forward(Heads(toQ, x));                                               // [b, n, h, d/h]
        var (k, v) = KeysValues(text, x);
        if (text is null)
            return (null, toOut.Forward(pass.Attend(q, k, v)!));

        q = Tensor.Cat([TextQueryNorm.Forward(Heads(addQProj, text)), q], 1);               // [b, l + n, h, d/h]
        var parts = pass.Attend(q, k, v)!.Split([text.Size(1), x.Size(1)], 1);
        return (toAddOut!.Forward(parts[0]), toOut.Forward(parts[1]));
    }

    /// <summary>Attends where only the last picture tokens are read afterwards; the others only serve as keys.</summary>
    /// <param name="text">Text tokens, [b, l, d]; null when they are in the pass already.</param>
    /// <param name="x">Picture tokens, [b, n, d].</param>
    /// <param name="pass">The run.</param>
    /// <param name="outputs">How many tokens at the end are read.</param>
    /// <returns>What to add to them, [b, outputs, d]; null for none.</returns>
    internal Tensor? ForwardLast(Tensor? text, Tensor x, BlockPass pass, long outputs)
    {
        var (k, v) = KeysValues(text, x);
        var q = outputs == 0 ? null : normQ.Forward(Heads(toQ, x.Narrow(1, x.Size(1) - outputs, outputs)));
        return pass.Attend(q, k, v) is { } a ? toOut.Forward(a) : null;
    }

    private (Tensor Keys, Tensor Values) KeysValues(Tensor? text, Tensor x)
    {
        var k = normK.Forward(Heads(toK, x));
        var v = Heads(toV, x);                                                              // [b, n, h, d/h]
        if (text is null)
            return (k, v);
        return (Tensor.Cat([TextKeyNorm.Forward(Heads(addKProj, text)), k], 1),
            Tensor.Cat([Heads(addVProj, text), v], 1));                                     // [b, l + n, h, d/h]
    }

    private Tensor Heads(Linear linear, Tensor x) => linear.Forward(x).Unflatten(-1, heads, -1);
}
