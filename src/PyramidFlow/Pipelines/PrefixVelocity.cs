using PyramidFlow.Torch;
using PyramidFlow.Transformers;

namespace PyramidFlow.Pipelines;

/// <summary>Velocities from passes over the unit's own tokens, text and history being computed ahead for several timesteps.</summary>
internal sealed class PrefixVelocity : StageVelocity
{
    private readonly PyramidTransformer model;
    private readonly IReadOnlyList<Tensor> history;
    private readonly ClipSize unit;
    private readonly TextCondition text;
    private readonly IReadOnlyList<double> timesteps;
    private readonly int ahead;
    private PrefixCache? prefix;
    private int first;

    internal PrefixVelocity(PyramidTransformer model, IReadOnlyList<Tensor> history, ClipSize unit, TextCondition text,
        IReadOnlyList<double> timesteps, long bytes)
    {
        (this.model, this.history, this.unit, this.text, this.timesteps) = (model, history, unit, text, timesteps);
        var tokens = text.Mask.Length + history.Sum(clip => ClipSize.Of(clip).Tokens);
        var config = model.Config;
        var timestep = 2 * config.Blocks * text.Mask.Rows * tokens * config.Dim * model.WeightType.Size();
        ahead = (int)Math.Clamp(bytes / timestep, 1, timesteps.Count);
    }

    internal override Tensor At(Tensor noisy, int step)
    {
        if (prefix is null || step >= first + prefix.Timesteps)
        {
            Dispose();
            using var scope = new TensorScope();
            var next = timesteps.Skip(step).Take(ahead);
            (prefix, first) = (model.ComputePrefix(history, unit, text, Timesteps(model, next)), step);
        }

        return model.ForwardUnit(noisy, step - first, prefix);
    }

    public override void Dispose()
    {
        prefix?.Dispose();
        prefix = null;
    }
}
