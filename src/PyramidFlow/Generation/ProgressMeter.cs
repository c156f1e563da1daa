using PyramidFlow.Media;

namespace PyramidFlow.Generation;

/// <summary>Turns what has been done into reports with a share of the whole; a step weighs as much as <see cref="SamplingPlan.Work"/> says.</summary>
/// <param name="plan">The clip.</param>
/// <param name="isGiven">Whether the first unit is given.</param>
/// <param name="decodes">Whether units are decoded too.</param>
/// <param name="item">Which clip of the run.</param>
/// <param name="items">Clips of the run; they count as equally long.</param>
/// <param name="target">Takes the reports.</param>
internal sealed class ProgressMeter(SamplingPlan plan, bool isGiven, bool decodes, int item, int items, IProgress<GenerationProgress>? target)
    : IProgress<SamplerStep>
{
    // Decoding a latent frame costs about as much as this many guided steps on it, at the released models' sizes.
    private const double DecodeSteps = 5;

    private readonly double total = Enumerable.Range(0, plan.Units)
        .Sum(unit => (isGiven && unit == 0 ? 0 : Enumerable.Range(0, plan.Stages).Sum(stage => Enumerable.Range(0, plan.EvaluationsOf(unit, stage)).Sum(step => plan.Work(unit, stage, step))))
            + (decodes ? DecodeWeight(plan, unit) : 0));

    private double done;

    /// <summary>A picture that goes with the next report.</summary>
    internal RgbImage? Preview { get; set; }

    /// <inheritdoc/>
    public void Report(SamplerStep step)
    {
        done += plan.Work(step.Unit, step.Stage, step.Step - 1);
        Send(GenerationPhase.Denoising, step.Unit, step.Stage, step.Step, step.Steps);
    }

    internal void Begin(GenerationPhase phase, int unit = 0) =>
        Send(phase, unit, 0, 0, phase == GenerationPhase.Denoising ? plan.EvaluationsOf(unit, 0) : 0);

    /// <summary>A unit has been decoded.</summary>
    internal void Decoded(int unit)
    {
        done += DecodeWeight(plan, unit);
        Send(GenerationPhase.Decoding, unit, plan.Stages - 1, 0, 0);
    }

    /// <summary>The clip is decoded tile by tile, and a tile begins.</summary>
    /// <param name="tile">Tiles done.</param>
    /// <param name="tiles">All.</param>
    internal void DecodedShare(int tile, int tiles)
    {
        var decoding = Enumerable.Range(0, plan.Units).Sum(unit => DecodeWeight(plan, unit));
        done = total - (decoding * (tiles - tile) / tiles);
        Send(GenerationPhase.Decoding, plan.Units - 1, plan.Stages - 1, tile, tiles);
    }

    private static double DecodeWeight(SamplingPlan plan, int unit) => DecodeSteps * plan.SizeOf(unit, plan.Stages - 1).Tokens;

    private void Send(GenerationPhase phase, int unit, int stage, int step, int steps)
    {
        target?.Report(new GenerationProgress(phase, unit, plan.Units, stage, plan.Stages, step, steps, (item + Math.Min(1, done / total)) / items)
        {
            Item = item,
            Items = items,
            Preview = Preview,
        });
        Preview = null;
    }
}
