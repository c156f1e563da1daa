using PyramidFlow.Torch;

namespace PyramidFlow.Training.Objectives;

/// <summary>
/// Draws for evaluation that follow from the number of a row alone. The uniform draws that an objective takes, which are a position on the timestep axis and a strength of
/// the noise on the history, again for each stage, are those of a point of a sequence that fills the unit square evenly: rows 0 to n cover both axes, however few they are.
/// </summary>
/// <param name="row">Number of the row; others than those of rows are below 0.</param>
internal sealed class FixedDraws(int row) : ITrainingDraws, IDisposable
{
    // The R2 low-discrepancy sequence: powers of the inverse of the plastic number.
    private static readonly double[] Steps = [0.7548776662466927, 0.5698402909980532];

    private readonly RandomGenerator generator = new(unchecked(((ulong)row * 0x9E3779B97F4A7C15UL) + 0x4E1D007UL));
    private int taken;

    /// <inheritdoc/>
    public float[] Uniform(int count)
    {
        var position = 0.5 + (row * Steps[taken++ % Steps.Length]);
        return [.. Enumerable.Repeat((float)(position - Math.Floor(position)), count).Select(value => Math.Min(value, MathF.BitDecrement(1)))];
    }

    /// <inheritdoc/>
    public Tensor Normal(long[] shape) => Tensor.Randn(shape, generator);

    /// <inheritdoc/>
    public void Dispose() => generator.Dispose();
}
