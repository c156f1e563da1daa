using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Generation;

/// <summary>The velocities of one unit at one stage, step after step. What the steps share is made once.</summary>
internal abstract class StageVelocity : IDisposable
{
    /// <summary>Chooses how to compute them.</summary>
    /// <param name="model">The transformer.</param>
    /// <param name="history">Clips [rows, c, t, h, w], oldest first; empty for the first unit.</param>
    /// <param name="unit">Size of the unit.</param>
    /// <param name="text">Text of the rows.</param>
    /// <param name="timesteps">One for each step, 0..1000.</param>
    /// <param name="options">How much may be held ahead.</param>
    /// <param name="reuse">For how many neighbouring steps text and history are computed once; 1 is exact.</param>
    internal static StageVelocity Begin(PyramidTransformer model, IReadOnlyList<Tensor> history, ClipSize unit, TextCondition text,
        IReadOnlyList<double> timesteps, SamplerOptions options, int reuse = 1) =>
        options.UsePrefix && model.Config.UseTemporalCausal && history.Count > 0
            ? new PrefixVelocity(model, history, unit, text, timesteps, options.PrefixBytes, reuse)
            : new JointVelocity(model, history, unit, text, timesteps);

    /// <summary>The velocity of a step, shaped like the unit.</summary>
    /// <param name="noisy">[rows, c, t, h, w].</param>
    /// <param name="step">Steps come in order.</param>
    internal abstract Tensor At(Tensor noisy, int step);

    /// <inheritdoc/>
    public abstract void Dispose();

    /// <summary>Modulation of all rows of text at each timestep, [timesteps * rows, ...].</summary>
    private protected static TransformerModulation Modulate(PyramidTransformer model, TextCondition text, IReadOnlyList<double> timesteps) =>
        model.Modulate(Timesteps(model, timesteps).RepeatInterleave(text.Mask.Rows, 0), text.Pooled.Repeat(timesteps.Count, 1));

    /// <summary>Timesteps as the model is told them: rounded to its own element type, as the released system does.</summary>
    private protected static Tensor Timesteps(PyramidTransformer model, IEnumerable<double> timesteps) =>
        Tensor.From<float>([.. timesteps.Select(t => (float)t)]).To(model.WeightType).To(model.Device); // [steps]
}
