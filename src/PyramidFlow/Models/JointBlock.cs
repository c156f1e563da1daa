using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Block with two streams (FLUX double-stream block, SD3 joint block): text and picture have their own weights and share
/// attention.
/// </summary>
internal sealed class JointBlock : Module
{
    private readonly bool contextPreOnly;
    private readonly AdaLayerNorm norm1;
    private readonly AdaLayerNorm norm1Context;
    private readonly JointAttention attn;
    private readonly FeedForward ff;
    private readonly FeedForward? ffContext;

    /// <summary>Declares it.</summary>
    /// <param name="dim">Width of both streams.</param>
    /// <param name="attention">Its attention.</param>
    /// <param name="contextPreOnly">Whether text serves as keys only (<c>context_pre_only</c>) and has no output.</param>
    public JointBlock(long dim, JointAttention attention, bool contextPreOnly = false)
    {
        this.contextPreOnly = contextPreOnly;
        norm1 = new AdaLayerNorm(dim, 6);
        norm1Context = new AdaLayerNorm(dim, contextPreOnly ? 2 : 6);
        attn = attention;
        ff = new FeedForward(dim);
        ffContext = contextPreOnly ? null : new FeedForward(dim);
    }

    /// <summary>Modulation of both streams from silu(conditioning) [rows, d]: [rows, 6d] each, of text [rows, 2d] where it ends.</summary>
    public (Tensor X, Tensor Text) Modulate(Tensor activated) => (norm1.Forward(activated), norm1Context.Forward(activated));

    /// <summary>Runs the block.</summary>
    /// <param name="text">Text tokens, [b, l, d]; null where the pass has their keys and values already.</param>
    /// <param name="x">Picture tokens, [b, n, d].</param>
    /// <param name="modulation">Of both streams, from <see cref="Modulate"/>.</param>
    /// <param name="pass">The pass.</param>
    internal (Tensor? Text, Tensor X) Forward(Tensor? text, Tensor x, (Tensor X, Tensor Text) modulation, BlockPass pass)
    {
        using var scope = new TensorScope();
        var mod = AdaLayerNorm.Split(modulation.X, 2);
        var h = mod[0].Apply(x);                                                            // [b, n, d]
        if (text is null)
            return (null, scope.Keep(Finish(x, attn.Forward(null, h, pass).X, mod, ff)));

        var textMod = AdaLayerNorm.Split(modulation.Text, 2);
        var (c, a) = attn.Forward(textMod[0].Apply(text), h, pass);                         // [b, l, d], [b, n, d]
        return (scope.Keep(Finish(text, c!, textMod, ffContext!)), scope.Keep(Finish(x, a, mod, ff)));
    }

    /// <summary>Runs the block as the last one, where only picture tokens at the end are read.</summary>
    /// <param name="text">Text tokens, [b, l, d]; null where the pass has their keys and values already.</param>
    /// <param name="x">Picture tokens, [b, n, d].</param>
    /// <param name="modulation">Of both streams, from <see cref="Modulate"/>.</param>
    /// <param name="pass">The pass.</param>
    /// <param name="outputs">Number of tokens at the end whose output is read; the others serve as keys only. Null for none.</param>
    /// <returns>[b, outputs, d]; null for none.</returns>
    internal Tensor? ForwardLast(Tensor? text, Tensor x, (Tensor X, Tensor Text) modulation, BlockPass pass, long? outputs)
    {
        using var scope = new TensorScope();
        var mod = AdaLayerNorm.Split(modulation.X, 2);
        var words = text is null ? null : TextModulation(modulation.Text).Apply(text);      // [b, l, d]
        var a = attn.ForwardLast(words, mod[0].Apply(x), pass, outputs);                    // [b, outputs, d]
        return a is null ? null : scope.Keep(Finish(x.Narrow(1, x.Size(1) - a.Size(1), a.Size(1)), a, mod, ff));
    }

    private Modulation TextModulation(Tensor parts) => contextPreOnly ? AdaLayerNorm.SplitLast(parts) : AdaLayerNorm.Split(parts, 2)[0];

    private static Tensor Finish(Tensor x, Tensor attended, Modulation[] mod, FeedForward ff)
    {
        var y = mod[0].Add(x, attended);                                                    // [b, n, d]
        return mod[1].Add(y, ff.Forward(mod[1].Apply(y)));                                  // [b, n, d]
    }
}

/// <summary>
/// Attention of text and picture streams, each with its own projections, over their joint sequence. The names of the
/// norms of the text's queries and keys differ between families, so derived classes declare them.
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
    /// <param name="contextPreOnly">Whether the text has no output, because no later block reads it.</param>
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

    /// <summary>Computes the attention of both streams.</summary>
    /// <param name="text">Text tokens, [b, l, d]; null where the pass has their keys and values already.</param>
    /// <param name="x">Picture tokens, [b, n, d].</param>
    /// <param name="pass">The pass.</param>
    /// <returns>The residual of each stream, shaped like it.</returns>
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

    /// <summary>Attention where only the last picture tokens are read afterwards; the others serve as keys only.</summary>
    /// <param name="text">Text tokens, [b, l, d]; null where the pass has their keys and values already.</param>
    /// <param name="x">Picture tokens, [b, n, d].</param>
    /// <param name="pass">The pass.</param>
    /// <param name="outputs">Number of tokens at the end whose output is read; null for none.</param>
    /// <returns>Their residual, [b, outputs, d]; null for none.</returns>
    internal Tensor? ForwardLast(Tensor? text, Tensor x, BlockPass pass, long? outputs)
    {
        var (k, v) = KeysValues(text, x);
        var q = outputs is not { } count ? null : normQ.Forward(Heads(toQ, x.Narrow(1, x.Size(1) - count, count)));
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

/// <summary>Linear layers with the initial weights of the released trainer.</summary>
internal static class Projection
{
    internal static Linear New(long inputs, long outputs) => new(inputs, outputs, Initializers.XavierUniform(inputs, outputs));
}
