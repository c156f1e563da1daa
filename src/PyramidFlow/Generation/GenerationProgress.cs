using System.Diagnostics;
using PyramidFlow.Models;
using PyramidFlow.Media;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Phases of a generation.</summary>
public enum GenerationPhase
{
    /// <summary>Reading weights.</summary>
    Loading,

    /// <summary>Encoding the prompt.</summary>
    EncodingText,

    /// <summary>Encoding the picture or video that is gone on from.</summary>
    EncodingImage,

    /// <summary>Denoising a unit.</summary>
    Denoising,

    /// <summary>Decoding a unit to frames.</summary>
    Decoding,
}

/// <summary>Reports how far a generation has come.</summary>
/// <param name="Phase">Phase at work.</param>
/// <param name="Unit">Unit at work, from 0.</param>
/// <param name="Units">Number of units.</param>
/// <param name="Stage">Stage of the unit, from 0, the lowest resolution.</param>
/// <param name="Stages">Number of stages.</param>
/// <param name="Step">Evaluations of the transformer done in the stage; a step is one, or more with some solvers.</param>
/// <param name="Steps">Evaluations of the stage.</param>
/// <param name="Fraction">Share of the whole work done, 0 to 1, weighed by tokens.</param>
public sealed record GenerationProgress(GenerationPhase Phase, int Unit, int Units, int Stage, int Stages, int Step, int Steps, double Fraction)
{
    /// <summary>Clip at work, from 0.</summary>
    public int Item { get; init; }

    /// <summary>Number of clips of the run.</summary>
    public int Items { get; init; } = 1;

    /// <summary>Units that an earlier run has finished, so that this one goes on after them (<see cref="GenerationPlan.ResumeFile"/>); <see cref="Fraction"/> begins with their share.</summary>
    public int ResumedUnits { get; init; }

    /// <summary>
    /// An estimate of the last frame of the unit, at the size of the stage; null in most reports
    /// (<see cref="PipelineOptions.PreviewEvery"/>).
    /// </summary>
    public RgbImage? Preview { get; init; }
}

/// <summary>Turns finished work into reports with a share of the whole; an evaluation weighs as much as <see cref="SamplingPlan.Work"/> says.</summary>
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

    // Encoding one, in the same measure: the encoder has about half of the decoder's operations.
    private const double EncodeSteps = 2.5;

    private readonly double total = Enumerable.Range(0, plan.Units).Sum(unit => SamplingWeight(plan, unit, isGiven) + (decodes ? DecodeWeight(plan, unit) : 0));

    private double done;
    private int resumed;

    /// <summary>Makes pictures for reports of steps; null makes none.</summary>
    internal LatentPreview? Preview { get; init; }

    /// <inheritdoc/>
    public void Report(SamplerStep step)
    {
        done += plan.Work(step.Unit, step.Stage, step.Step - 1);
        Send(GenerationPhase.Denoising, step.Unit, step.Stage, step.Step, step.Steps, Preview?.Of(step));
    }

    /// <summary>The first units need no sampling, because an earlier run has finished them.</summary>
    internal void Resume(int units)
    {
        resumed = units;
        done += Enumerable.Range(0, units).Sum(unit => SamplingWeight(plan, unit, isGiven));
    }

    /// <summary>A phase begins.</summary>
    internal void Begin(GenerationPhase phase, int unit = 0) =>
        Send(phase, unit, 0, 0, phase == GenerationPhase.Denoising ? plan.EvaluationsOf(unit, 0) : 0);

    /// <summary>A piece of what the clip begins with has been encoded.</summary>
    /// <param name="share">Its share of the whole, 0 to 1.</param>
    internal void Encoded(double share)
    {
        done += share * EncodeWeight(plan);
        Send(GenerationPhase.EncodingImage, 0, 0, 0, 0);
    }

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

    // A unit that is given is encoded in place of being sampled.
    private static double SamplingWeight(SamplingPlan plan, int unit, bool isGiven) => isGiven && unit == 0 ? EncodeWeight(plan)
        : Enumerable.Range(0, plan.Stages).Sum(stage => Enumerable.Range(0, plan.EvaluationsOf(unit, stage)).Sum(step => plan.Work(unit, stage, step)));

    private static double DecodeWeight(SamplingPlan plan, int unit) => DecodeSteps * plan.SizeOf(unit, plan.Stages - 1).Tokens;

    private static double EncodeWeight(SamplingPlan plan) => EncodeSteps * plan.SizeOf(0, plan.Stages - 1).Tokens;

    private void Send(GenerationPhase phase, int unit, int stage, int step, int steps, RgbImage? preview = null)
    {
        // Units that are decoded again count as done.
        unit = Math.Max(unit, Math.Min(resumed, plan.Units - 1));
        target?.Report(new GenerationProgress(phase, unit, plan.Units, stage, plan.Stages, step, steps, (item + Math.Min(1, done / total)) / items)
        {
            Item = item,
            Items = items,
            ResumedUnits = resumed,
            Preview = preview,
        });
    }
}

/// <summary>
/// Pictures of the unit that is being denoised: the last latent frame of the estimated clean latents, decoded as a picture by itself. At the
/// lower stages it is small and cheap, so the preview sharpens from stage to stage.
/// </summary>
/// <param name="models">The models.</param>
/// <param name="normalization">Shift and scale of the transformer's latents.</param>
/// <param name="pause">Least time between two pictures.</param>
/// <param name="threads">Threads of an operator while it decodes.</param>
internal sealed class LatentPreview(PipelineModels models, LatentNormalization normalization, TimeSpan pause, int threads)
{
    // Decoding must not slow the work it shows.
    private const int MostShare = 10;

    private long next;

    /// <summary>A picture, or null when it is too early for another.</summary>
    internal RgbImage? Of(SamplerStep step)
    {
        var start = Stopwatch.GetTimestamp();
        if (start < next)
            return null;
        using var scope = new TensorScope();
        using var all = new ThreadCount(threads);
        var latents = step.EstimateClean();                                                                       // [b, c, t, h, w]
        var last = normalization.Denormalize(latents.Narrow(0, 0, 1).Narrow(2, latents.Size(2) - 1, 1), step.Unit == 0);
        var frame = models.Vae.Decode(last.To(models.Type).To(models.Device)).Select(0, 0);                 // [3, 1, h, w]
        var picture = new RgbImage((int)frame.Size(3), (int)frame.Size(2), FrameBytes.Of(frame));
        var (now, least) = (Stopwatch.GetTimestamp(), (long)(pause.TotalSeconds * Stopwatch.Frequency));
        next = now + Math.Max(least, MostShare * (now - start));
        return picture;
    }
}
