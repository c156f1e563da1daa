using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Block with two streams (FLUX double-stream block, SD3 joint block): text and picture keep weights of their own and meet in
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
    /// <param name="contextPreOnly">Whether text serves as keys only (<c>context_pre_only</c>), so that nothing of it comes out.</param>
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
    /// <param name="text">Text tokens, [b, l, d]; null when they are in the pass already.</param>
    /// <param name="x">Picture tokens, [b, n, d].</param>
    /// <param name="modulation">Of both streams, from <see cref="Modulate"/>.</param>
    /// <param name="pass">The run.</param>
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

    /// <summary>Runs the block as the last one, of which only picture tokens at the end are read.</summary>
    /// <param name="text">Text tokens, [b, l, d]; null when they are in the pass already.</param>
    /// <param name="x">Picture tokens, [b, n, d].</param>
    /// <param name="modulation">Of both streams, from <see cref="Modulate"/>.</param>
    /// <param name="pass">The run.</param>
    /// <param name="outputs">How many tokens at the end are read; the others only serve as keys.</param>
    /// <returns>[b, outputs, d]; null for none.</returns>
    internal Tensor? ForwardLast(Tensor? text, Tensor x, (Tensor X, Tensor Text) modulation, BlockPass pass, long outputs)
    {
        using var scope = new TensorScope();
        var mod = AdaLayerNorm.Split(modulation.X, 2);
        var words = text is null ? null : TextModulation(modulation.Text).Apply(text);      // [b, l, d]
        var a = attn.ForwardLast(words, mod[0].Apply(x), pass, outputs);                    // [b, outputs, d]
        return a is null ? null : scope.Keep(Finish(x.Narrow(1, x.Size(1) - outputs, outputs), a, mod, ff));
    }

    private Modulation TextModulation(Tensor parts) => contextPreOnly ? AdaLayerNorm.SplitLast(parts) : AdaLayerNorm.Split(parts, 2)[0];

    private static Tensor Finish(Tensor x, Tensor attended, Modulation[] mod, FeedForward ff)
    {
        var y = mod[0].Add(x, attended);                                                    // [b, n, d]
        return mod[1].Add(y, ff.Forward(mod[1].Apply(y)));                                  // [b, n, d]
    }
}
