using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Dit;

/// <summary>
/// Makes training inputs and targets of pyramidal flow matching (paper section 3;
/// <c>pyramid_dit/pyramid_dit_for_video_gen_pipeline.py</c>). Latents are the transformer's own (normalised) and stay as they are.
/// </summary>
public sealed class FlowObjective
{
    private readonly PyramidFlowScheduler scheduler;
    private readonly ObjectiveOptions options;
    private readonly int[] columns;

    /// <summary>Prepares the objective.</summary>
    /// <param name="scheduler">Stage windows and tables.</param>
    /// <param name="options">What to train on.</param>
    /// <exception cref="ArgumentException">An option is impossible.</exception>
    public FlowObjective(PyramidFlowScheduler scheduler, ObjectiveOptions options)
    {
        options.Check(scheduler.Stages.Count);
        (this.scheduler, this.options) = (scheduler, options);
        columns = [.. options.SampleRatios.SelectMany((ratio, stage) => Enumerable.Repeat(stage, ratio))];
    }

    /// <summary>Deals a batch to the stages by the sample ratios.</summary>
    /// <param name="latents">Clean latents, [rows, c, t, h, w]; an image has t = 1. h and w divisible by 2^stages.</param>
    /// <param name="units">
    /// Autoregressive: units of the clip for each stage, of which the last one is learned and the others are its history.
    /// Null: the whole clip is one unit.
    /// </param>
    /// <param name="draws">Source of all draws.</param>
    /// <exception cref="ArgumentException">The batch or the size does not fit.</exception>
    public FlowBatch Draw(Tensor latents, IReadOnlyList<int>? units, ITrainingDraws draws)
    {
        var rows = latents.Size(0);
        if (rows % columns.Length != 0)
            throw new ArgumentException($"a batch of {rows} cannot be dealt to sample_ratios [{string.Join(", ", options.SampleRatios)}]: use a multiple of {columns.Length}");
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var (clean, noise) = Levels(latents, draws);
        var samples = new FlowSample[columns.Length];
        for (var column = 0; column < samples.Length; column++)
        {
            var stage = columns[column];
            var (first, step) = (column, columns.Length);
            samples[column] = Sample([.. clean.Select(x => x.Slice(0, first, rows, step))], noise[stage].Slice(0, first, rows, step),
                stage, units?[stage], draws);
        }

        var timesteps = Tensor.Stack([.. samples.Select(s => s.Timesteps)], 1).Flatten(0);       // [rows]
        return new FlowBatch([.. samples.Select(s => Keep(scope, s))], scope.Keep(timesteps));
    }

    /// <summary>All rows at one stage: the last unit of the clip is learned, the frames before it are its history.</summary>
    /// <param name="latents">Clean latents, [b, c, t, h, w].</param>
    /// <param name="stage">0 is the lowest resolution.</param>
    /// <param name="draws">Source of all draws.</param>
    public FlowBatch DrawStage(Tensor latents, int stage, ITrainingDraws draws)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var (clean, noise) = Levels(latents, draws);
        var sample = Keep(scope, Sample(clean, noise[stage], stage, UnitsOf(latents), draws));
        return new FlowBatch([sample], sample.Timesteps);
    }

    // Clean latents and noise of every stage.
    private (Tensor[] Clean, Tensor[] Noise) Levels(Tensor latents, ITrainingDraws draws)
    {
        var stages = scheduler.Stages.Count;
        var (height, width, multiple) = (latents.Size(3), latents.Size(4), 1 << stages);
        if (height % multiple != 0 || width % multiple != 0)
            throw new ArgumentException($"latents of {height}x{width} do not fit {stages} stages of 2x2 patches: use multiples of {multiple}");
        var noise = new Tensor[stages];
        noise[^1] = draws.Normal(latents.Shape).To(latents.Device).To(latents.Type);                // [rows, c, t, h, w]
        for (var stage = stages - 2; stage >= 0; stage--)
            noise[stage] = LatentPyramid.Noise(noise[stage + 1], 1);
        return (LatentPyramid.Build(latents, stages), noise);
    }

    private FlowSample Sample(Tensor[] clean, Tensor noise, int stage, int? units, ITrainingDraws draws)
    {
        var window = scheduler.Stages[stage];
        var (first, count) = UnitFrames(clean[stage], units);
        var n = noise.Narrow(2, first, count);                                                      // [b, c, u, h, w]
        var x = clean[stage].Narrow(2, first, count);
        var start = stage == 0 ? n : (n * window.Start).Add(LatentPyramid.Double(clean[stage - 1].Narrow(2, first, count)), 1 - window.Start);
        var end = stage == scheduler.Stages.Count - 1 ? x : (n * window.End).Add(x, 1 - window.End);

        var rows = (int)x.Size(0);
        var (timesteps, sigmas) = Timesteps(window, rows, draws, x.Device);
        var noisy = ((sigmas * start) + ((1 - sigmas) * end)).To(x.Type);                           // float64, then the latents' type

        // Drawn where there is no history too: what a seed draws does not depend on the clip's length.
        var strength = Tensor.From(draws.Uniform(rows), rows, 1, 1, 1, 1) * options.CorruptRatio;
        var history = units is > 1 && first > 0
            ? LatentPyramid.History(clean, 1 + (int)((first - 1) / options.FramesPerUnit), stage, options.FramesPerUnit)
            : [];
        return new FlowSample([.. Corrupt(history, strength.To(x.Device), draws), noisy], timesteps, start - end);
    }

    private (Tensor Timesteps, Tensor Sigmas) Timesteps(FlowStage window, int rows, ITrainingDraws draws, Device device)
    {
        var steps = scheduler.Options.NumTrainTimesteps;
        int[] index = [.. options.Density.Draw(draws, rows).Select(u => Math.Clamp((int)(u * steps), 0, steps - 1))];
        var timesteps = Tensor.From(index.Select(i => (float)window.Timesteps[i]).ToArray());       // [b]
        var sigmas = Tensor.From(index.Select(i => window.Sigmas[i]).ToArray(), rows, 1, 1, 1, 1);
        return (timesteps.To(device), sigmas.To(device));
    }

    private (long First, long Count) UnitFrames(Tensor clip, int? units)
    {
        if (units is not { } wanted)
            return (0, clip.Size(2));
        var end = 1 + ((long)(Math.Min(wanted, UnitsOf(clip)) - 1) * options.FramesPerUnit);
        var first = Math.Max(0, end - options.FramesPerUnit);
        return (first, end - first);
    }

    private int UnitsOf(Tensor clip) => 1 + (int)((clip.Size(2) - 1) / options.FramesPerUnit);

    // One strength for each row, the same for all its clips. The newest is drawn first, as the reference does.
    private static IEnumerable<Tensor> Corrupt(List<Tensor> history, Tensor strength, ITrainingDraws draws)
    {
        var corrupted = Enumerable.Reverse(history)
            .Select(clip => clip.Lerp(draws.Normal(clip.Shape).To(clip.Device).To(clip.Type), strength.To(clip.Type))).ToList();
        return Enumerable.Reverse(corrupted);
    }

    private static FlowSample Keep(TensorScope scope, FlowSample sample) =>
        new([.. sample.Clips.Select(scope.Keep)], scope.Keep(sample.Timesteps), scope.Keep(sample.Target));
}
