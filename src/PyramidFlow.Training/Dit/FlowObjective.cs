using PyramidFlow.Pipelines;
using PyramidFlow.Schedulers;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Dit;

/// <summary>One batch of the pyramidal flow-matching objective at one stage.</summary>
/// <param name="Clips">History clips, oldest first, then the noisy unit; each [b, c, t, h, w].</param>
/// <param name="Timesteps">[b], 0..1000.</param>
/// <param name="Target">Velocity to predict, shaped like the noisy unit.</param>
public sealed record FlowSample(IReadOnlyList<Tensor> Clips, Tensor Timesteps, Tensor Target);

/// <summary>Makes training inputs and targets (paper section 3; algorithm as in the released trainer).</summary>
public static class FlowObjective
{
    /// <summary>Draws a sample: the last frame of the clip is the unit to learn, the frames before it are its history.</summary>
    /// <param name="latents">Clean latents, [b, c, 1 + units, h, w].</param>
    /// <param name="scheduler">Stage windows and tables.</param>
    /// <param name="stage">0 is the lowest resolution.</param>
    /// <param name="corruptRatio">Largest share of noise mixed into the history.</param>
    /// <param name="generator">Source of all draws.</param>
    public static FlowSample Draw(Tensor latents, PyramidFlowScheduler scheduler, int stage, double corruptRatio, RandomGenerator generator)
    {
        var stages = scheduler.Stages.Count;
        var unit = (int)latents.Size(2) - 1;
        var pyramid = LatentPyramid.Build(latents, stages);
        var clean = pyramid[stage].Narrow(2, unit, 1);                                              // [b, c, 1, h, w]
        var noise = LatentPyramid.Noise(Tensor.Randn(latents.Narrow(2, unit, 1).Shape, generator), stages - 1 - stage);
        var window = scheduler.Stages[stage];
        var start = stage == 0 ? noise
            : (noise * window.Start).Add(LatentPyramid.Double(pyramid[stage - 1].Narrow(2, unit, 1)), 1 - window.Start);
        var end = stage == stages - 1 ? clean : (noise * window.End).Add(clean, 1 - window.End);

        var batch = latents.Size(0);
        var index = Tensor.RandInt(0, scheduler.Options.NumTrainTimesteps, [batch], generator).ToArray<long>();
        var sigma = Tensor.From(index.Select(i => (float)window.Sigmas[(int)i]).ToArray()).Reshape(batch, 1, 1, 1, 1);
        var timesteps = Tensor.From(index.Select(i => (float)window.Timesteps[(int)i]).ToArray());
        var input = end.Lerp(start, sigma);
        var history = unit == 0 ? []
            : LatentPyramid.History([.. pyramid.Select(p => p.Narrow(2, 0, unit))], unit, stage, framesPerUnit: 1);
        return new FlowSample([.. Corrupt(history, corruptRatio, generator), input], timesteps, start - end);
    }

    // One strength for each row of the batch, the same for all its clips.
    private static IEnumerable<Tensor> Corrupt(List<Tensor> history, double ratio, RandomGenerator generator)
    {
        if (history.Count == 0)
            return history;
        var strength = Tensor.Rand([history[0].Size(0), 1, 1, 1, 1], generator) * ratio;
        return history.Select(clip => clip.Lerp(Tensor.Randn(clip.Shape, generator), strength)).ToList();
    }
}
