using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Generation;

/// <summary>Velocities from passes over the whole sequence.</summary>
internal sealed class JointVelocity : StageVelocity
{
    private readonly PyramidTransformer model;
    private readonly IReadOnlyList<Tensor> history;
    private readonly SequenceLayout layout;
    private readonly Tensor words;
    private readonly TransformerModulation modulation;

    internal JointVelocity(PyramidTransformer model, IReadOnlyList<Tensor> history, ClipSize unit, TextCondition text, IReadOnlyList<double> timesteps)
    {
        using var scope = new TensorScope();
        (this.model, this.history) = (model, history);
        words = model.EmbedText(text);                                                               // [rows, l, d]
        modulation = Modulate(model, text, timesteps);
        layout = model.Layout([.. history.Select(ClipSize.Of), unit], text.Mask);
        // Nothing can fail any more: from here on this object owns them.
        TensorScope.Release(words);
        modulation.Release();
    }

    internal override Tensor At(Tensor noisy, int step)
    {
        using var scope = new TensorScope();
        var first = (long)step * layout.Rows;
        return scope.Keep(model.ForwardStage([.. history, noisy], words, layout, modulation.Rows(first, first + layout.Rows)));
    }

    public override void Dispose()
    {
        layout.Dispose();
        words.Dispose();
        modulation.Dispose();
    }
}
