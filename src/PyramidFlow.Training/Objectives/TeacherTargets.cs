using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Objectives;

/// <summary>
/// Targets of a student: the velocity of its teacher in place of the straight line from noise to data. Guidance: u + g (c - u) of the teacher's velocities with the prompt (c) and with the
/// negative one (u), so that one row of the student does the work of two (Meng et al. 2023, arXiv 2210.03142). Steps: a step of the student ends where two of the teacher, each of half its length,
/// end (Salimans and Ho 2022, arXiv 2202.00512). Within a stage the flow is straight between sigma 1 and 0, so the velocity of such a step is the mean of the teacher's two.
/// </summary>
internal static class TeacherTargets
{
    /// <summary>The batch with the teacher's targets; no gradients, in the caller's scope.</summary>
    /// <param name="teacher">The teacher.</param>
    /// <param name="batch">Inputs of the student; where they are the beginnings of steps, the teacher takes two steps.</param>
    /// <param name="text">Prompts, in the order of the batch.</param>
    /// <param name="guidance">Guidance of the teacher; null takes its velocity with the prompt alone.</param>
    public static FlowBatch Of(PyramidTransformer teacher, FlowBatch batch, TextCondition text, TeacherGuidance? guidance)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var velocities = Velocities(teacher, batch, text, guidance);
        if (batch.Columns.All(column => column.HalfStep is not null))
        {
            var second = Velocities(teacher, FlowBatch.Of([.. batch.Columns.Zip(velocities, Halfway)]), text, guidance);
            velocities = [.. velocities.Zip(second, (first, later) => (first + later) * 0.5)];
        }

        return batch with { Columns = [.. batch.Columns.Zip(velocities, (column, velocity) => column with { Target = scope.Keep(velocity) })] };
    }

    // Where the teacher's first step ends: x + (next - sigma) * v, in float32.
    private static FlowSample Halfway(FlowSample column, Tensor velocity)
    {
        var half = column.HalfStep!.Value;
        var noisy = column.Noisy.To(ElementType.Float32).Add(velocity, half.Sigma).To(column.Noisy.Type);
        return column with { Clips = [.. column.Clips.SkipLast(1), noisy], Timesteps = column.Timesteps + half.Timestep };
    }

    private static Tensor[] Velocities(PyramidTransformer teacher, FlowBatch batch, TextCondition text, TeacherGuidance? guidance)
    {
        var prompted = FlowStep.Velocities(teacher, batch, text);
        if (guidance is null)
            return prompted;
        var negative = FlowStep.Velocities(teacher, batch, guidance.TextOf(text.Mask.Rows));
        return [.. batch.Columns.Select((column, i) => negative[i].Add(prompted[i] - negative[i], column.Clips.Count == 1 ? guidance.First : guidance.Later))];
    }
}

/// <summary>Guidance of a teacher.</summary>
/// <param name="First">Scale of units without history.</param>
/// <param name="Later">Scale of units with history.</param>
/// <param name="Negative">The negative prompt, one row.</param>
internal sealed record TeacherGuidance(double First, double Later, TextCondition Negative)
{
    /// <summary>The negative prompt for some rows.</summary>
    /// <param name="rows">How many.</param>
    public TextCondition TextOf(int rows) => new(
        Tensor.Cat([.. Enumerable.Repeat(Negative.Tokens, rows)], 0), Negative.Mask.Repeat(rows), Tensor.Cat([.. Enumerable.Repeat(Negative.Pooled, rows)], 0));
}
