using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Generation;

/// <summary>
/// Velocities from passes over the unit's own tokens, text and history being computed ahead for several timesteps. Where
/// neighbouring steps share a prefix it is computed at the mean of their timesteps; their own tokens keep their own.
/// </summary>
internal sealed class PrefixVelocity : StageVelocity
{
    private readonly PyramidTransformer model;
    private readonly IReadOnlyList<Tensor> history;
    private readonly ClipSize unit;
    private readonly TextCondition text;
    private readonly IReadOnlyList<double> timesteps;
    private readonly TransformerModulation? modulation;
    private readonly int ahead, reuse;
    private PrefixCache? prefix;
    private int first;

    internal PrefixVelocity(PyramidTransformer model, IReadOnlyList<Tensor> history, ClipSize unit, TextCondition text,
        IReadOnlyList<double> timesteps, long bytes, int reuse)
    {
        (this.model, this.history, this.unit, this.text, this.reuse) = (model, history, unit, text, reuse);
        this.timesteps = reuse == 1 ? timesteps : [.. timesteps.Chunk(reuse).Select(group => group.Average())];
        var tokens = text.Mask.Length + history.Sum(clip => ClipSize.Of(clip).Tokens);
        var config = model.Config;
        var timestep = 2 * config.Blocks * text.Mask.Rows * tokens * config.Dim * model.WeightType.Size();
        ahead = (int)Math.Clamp(bytes / timestep, 1, this.timesteps.Count);
        if (reuse == 1)
            return;
        using var scope = new TensorScope();
        modulation = Modulate(model, text, timesteps).Release();
    }

    internal override Tensor At(Tensor noisy, int step)
    {
        var group = step / reuse;
        if (prefix is null || group >= first + prefix.Timesteps)
        {
            prefix?.Dispose();
            using var scope = new TensorScope();
            (prefix, first) = (model.ComputePrefix(history, unit, text, Timesteps(model, timesteps.Skip(group).Take(ahead))), group);
        }

        if (modulation is null)
            return model.ForwardUnit(noisy, group - first, prefix);
        using var inner = new TensorScope();
        var row = (long)step * text.Mask.Rows;
        return inner.Keep(model.ForwardUnit(noisy, group - first, prefix, modulation.Rows(row, row + text.Mask.Rows)));
    }

    public override void Dispose()
    {
        prefix?.Dispose();
        prefix = null;
        modulation?.Dispose();
    }
}
