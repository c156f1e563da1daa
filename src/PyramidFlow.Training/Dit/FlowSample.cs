using PyramidFlow.Torch;

namespace PyramidFlow.Training.Dit;

/// <summary>Rows of a batch at one stage, as the transformer takes them.</summary>
/// <param name="Clips">History clips, oldest first, then the noisy unit; each [b, c, t, h, w].</param>
/// <param name="Timesteps">[b], 0..1000.</param>
/// <param name="Target">Velocity to predict, shaped like the noisy unit.</param>
public sealed record FlowSample(IReadOnlyList<Tensor> Clips, Tensor Timesteps, Tensor Target);

/// <summary>A batch dealt to stages that go through the transformer together: row r belongs to column r mod (number of columns).</summary>
/// <param name="Columns">The packed stages, lowest resolution first.</param>
/// <param name="Timesteps">Of all rows in the batch's order, [rows], 0..1000.</param>
public sealed record FlowBatch(IReadOnlyList<FlowSample> Columns, Tensor Timesteps)
{
    /// <summary>What <see cref="Transformers.PyramidTransformer.Forward"/> takes.</summary>
    public IReadOnlyList<IReadOnlyList<Tensor>> Stages => [.. Columns.Select(c => c.Clips)];
}
