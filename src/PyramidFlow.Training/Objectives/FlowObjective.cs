using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Objectives;

/// <summary>
/// Creates training inputs and targets of pyramidal flow matching (paper section 3;
/// <c>pyramid_dit/pyramid_dit_for_video_gen_pipeline.py</c>). Latents are normalised, as the transformer sees them, and are not modified.
/// </summary>
internal sealed class FlowObjective
{
    private readonly PyramidFlowScheduler scheduler;
    private readonly ObjectiveOptions options;
    private readonly int[] columns;

    /// <summary>Creates the objective.</summary>
    /// <param name="scheduler">Stage windows and tables.</param>
    /// <param name="options">Ratios of the stages, history noise and timestep density.</param>
    /// <exception cref="TrainingException">An option is invalid.</exception>
    public FlowObjective(PyramidFlowScheduler scheduler, ObjectiveOptions options)
    {
        options.Check(scheduler.Stages.Count);
        (this.scheduler, this.options) = (scheduler, options);
        columns = [.. options.SampleRatios.SelectMany((ratio, stage) => Enumerable.Repeat(stage, ratio))];
    }

    /// <summary>Distributes a batch over the stages by the sample ratios.</summary>
    /// <param name="latents">Clean latents, [rows, c, t, h, w]; an image has t = 1. h and w divisible by 2^stages.</param>
    /// <param name="units">Autoregressive: number of units for each stage; the last unit is the target and the others are its history.
    /// Null: the whole clip is one unit.</param>
    /// <param name="draws">Source of all random draws.</param>
    /// <param name="steps">Trains only where steps begin of a stage that is divided into so many equal ones; null trains the whole stage.</param>
    /// <exception cref="ArgumentException">The batch size or the resolution does not fit.</exception>
    public FlowBatch Draw(Tensor latents, IReadOnlyList<int>? units, ITrainingDraws draws, int? steps = null)
    {
        var rows = latents.Size(0);
        if (rows % columns.Length != 0)
            throw new ArgumentException($"a batch of {rows} cannot be dealt to sample_ratios [{string.Join(", ", options.SampleRatios)}]: use a multiple of {columns.Length}", nameof(latents));
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var (clean, noise) = Levels(latents, draws);
        var batch = Deal((stage, first, every) =>
            Sample([.. clean.Select(x => x.Slice(0, first, rows, every))], noise[stage].Slice(0, first, rows, every), stage, units?[stage], draws, steps));
        return new FlowBatch([.. batch.Columns.Select(sample => Keep(scope, sample))], scope.Keep(batch.Timesteps));
    }

    /// <summary>A batch that is distributed over the stages by the sample ratios, in the caller's scope.</summary>
    /// <param name="sample">Gives the sample of a stage: of the row that is named first, and of others at the distance that is named then.</param>
    public FlowBatch Deal(Func<int, int, int, FlowSample> sample) => FlowBatch.Of([.. columns.Select((stage, column) => sample(stage, column, columns.Length))]);

    /// <summary>Trains all rows at one stage: the last unit of the clip is the target, the frames before it are its history.</summary>
    /// <param name="latents">Clean latents, [b, c, t, h, w].</param>
    /// <param name="stage">Stage, 0 is the lowest resolution.</param>
    /// <param name="draws">Source of all random draws.</param>
    /// <param name="steps">As in <see cref="Draw"/>.</param>
    public FlowBatch DrawStage(Tensor latents, int stage, ITrainingDraws draws, int? steps = null)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var (clean, noise) = Levels(latents, draws);
        var sample = Keep(scope, Sample(clean, noise[stage], stage, UnitsOf(latents), draws, steps));
        return new FlowBatch([sample], sample.Timesteps);
    }

    // Clean latents and noise at every resolution.
    private (Tensor[] Clean, Tensor[] Noise) Levels(Tensor latents, ITrainingDraws draws)
    {
        var stages = scheduler.Stages.Count;
        var (height, width, multiple) = (latents.Size(3), latents.Size(4), 1 << stages);
        if (height % multiple != 0 || width % multiple != 0)
            throw new ArgumentException($"latents of {height}x{width} do not fit {stages} stages of 2x2 patches: use multiples of {multiple}", nameof(latents));
        var noise = new Tensor[stages];
        noise[^1] = draws.Normal(latents.Shape).To(latents.Device).To(latents.Type);                // [rows, c, t, h, w]
        for (var stage = stages - 2; stage >= 0; stage--)
            noise[stage] = LatentPyramid.Noise(noise[stage + 1], 1);
        return (LatentPyramid.Build(latents, stages), noise);
    }

    private FlowSample Sample(Tensor[] clean, Tensor noise, int stage, int? units, ITrainingDraws draws, int? steps)
    {
        var window = scheduler.Stages[stage];
        var (first, count) = UnitFrames(clean[stage], units);
        var n = noise.Narrow(2, first, count);                                                      // [b, c, u, h, w]
        var x = clean[stage].Narrow(2, first, count);
        var start = stage == 0 ? n : (n * window.Start).Add(LatentPyramid.Double(clean[stage - 1].Narrow(2, first, count)), 1 - window.Start);
        var end = stage == scheduler.Stages.Count - 1 ? x : (n * window.End).Add(x, 1 - window.End);

        var rows = (int)x.Size(0);
        (IReadOnlyList<double>, IReadOnlyList<double>) points = steps is { } equal ? window.UniformGrid(equal) : (window.Timesteps, window.Sigmas);
        var (timesteps, sigmas) = Timesteps(points, steps ?? scheduler.Options.NumTrainTimesteps, rows, draws, x.Device);
        var noisy = ((sigmas * start) + ((1 - sigmas) * end)).To(x.Type);                           // float64, then the latents' type

        // Drawn even without history, so that the random sequence of a seed does not depend on the clip length.
        var strength = Tensor.From(draws.Uniform(rows), rows, 1, 1, 1, 1) * options.CorruptRatio;
        var history = units is > 1 && first > 0
            ? LatentPyramid.History(clean, 1 + (int)((first - 1) / options.FramesPerUnit), stage, options.FramesPerUnit)
            : [];
        return new FlowSample([.. Corrupt(history, strength.To(x.Device), draws), noisy], timesteps, start - end)
        {
            HalfStep = steps is { } whole ? FlowHalfStep.Of(window, whole) : null,
        };
    }

    private (Tensor Timesteps, Tensor Sigmas) Timesteps((IReadOnlyList<double> Timesteps, IReadOnlyList<double> Sigmas) points, int count, int rows, ITrainingDraws draws, Device device)
    {
        int[] index = [.. options.Density.Draw(draws, rows).Select(u => Math.Clamp((int)(u * count), 0, count - 1))];
        var timesteps = Tensor.From(index.Select(i => (float)points.Timesteps[i]).ToArray());       // [b]
        var sigmas = Tensor.From(index.Select(i => points.Sigmas[i]).ToArray(), rows, 1, 1, 1, 1);
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

    // One strength per row for all its history clips. The newest clip is drawn first, as in the reference.
    private static IEnumerable<Tensor> Corrupt(List<Tensor> history, Tensor strength, ITrainingDraws draws)
    {
        var corrupted = Enumerable.Reverse(history)
            .Select(clip => clip.Lerp(draws.Normal(clip.Shape).To(clip.Device).To(clip.Type), strength.To(clip.Type))).ToList();
        return Enumerable.Reverse(corrupted);
    }

    private static FlowSample Keep(TensorScope scope, FlowSample sample) =>
        sample with { Clips = [.. sample.Clips.Select(scope.Keep)], Timesteps = scope.Keep(sample.Timesteps), Target = scope.Keep(sample.Target) };
}

/// <summary>Options of the training objective; the defaults are those of the released runs.</summary>
internal sealed record ObjectiveOptions
{
    /// <summary>Share of a batch's rows for each stage, lowest resolution first: integers whose sum divides the batch size.</summary>
    public IReadOnlyList<int> SampleRatios { get; init; } = [1, 2, 1];

    /// <summary>Latent frames of a unit after the first; at least 1.</summary>
    public int FramesPerUnit { get; init; } = 1;

    /// <summary>Largest share of noise in the corrupted history; 0 to 1.</summary>
    public double CorruptRatio { get; init; } = 1 / 3.0;

    /// <summary>Density of the timesteps within a stage.</summary>
    public TimestepDensity Density { get; init; } = new();

    /// <summary>Validates the values.</summary>
    /// <param name="stages">Stages of the schedule.</param>
    /// <exception cref="TrainingException">A value is invalid.</exception>
    internal void Check(int stages)
    {
        var fault =
            SampleRatios.Count != stages ? TrainingFault.RatiosOfOtherStages(SampleRatios, stages)
            : SampleRatios.Any(r => r < 0) || SampleRatios.Sum() == 0 ? TrainingFault.RatiosInvalid(SampleRatios)
            : FramesPerUnit < 1 ? TrainingFault.TooSmall(null, "frame_per_unit", FramesPerUnit, 1)
            : !(CorruptRatio >= 0 && CorruptRatio <= 1) ? TrainingFault.NoShare(null, "corrupt_ratio", CorruptRatio)
            : null;
        if (fault is not null)
            throw fault;
    }
}

/// <summary>Rows of a batch at one stage, in the form the transformer takes.</summary>
/// <param name="Clips">History clips, oldest first, then the noisy unit; each [b, c, t, h, w].</param>
/// <param name="Timesteps">[b], 0..1000.</param>
/// <param name="Target">Target velocity, with the shape of the noisy unit.</param>
internal sealed record FlowSample(IReadOnlyList<Tensor> Clips, Tensor Timesteps, Tensor Target)
{
    /// <summary>Half of the step that begins here; null where the whole stage is trained.</summary>
    public FlowHalfStep? HalfStep { get; init; }

    /// <summary>The noisy unit.</summary>
    public Tensor Noisy => Clips[^1];
}

/// <summary>Half of a step.</summary>
/// <param name="Sigma">What it adds to the weight of the noise; below 0.</param>
/// <param name="Timestep">What it adds to the timestep; below 0.</param>
internal readonly record struct FlowHalfStep(double Sigma, double Timestep)
{
    /// <summary>Half of a step of a stage that is divided into so many equal ones.</summary>
    public static FlowHalfStep Of(FlowStage stage, int steps)
    {
        var (timesteps, sigmas) = stage.UniformGrid(2 * steps);
        return new FlowHalfStep(sigmas[1] - sigmas[0], timesteps[1] - timesteps[0]);
    }
}

/// <summary>A batch whose stages pass through the transformer together: row r belongs to column r mod (number of columns).</summary>
/// <param name="Columns">The packed stages, lowest resolution first.</param>
/// <param name="Timesteps">Timesteps of all rows in the order of the batch, [rows], 0..1000.</param>
internal sealed record FlowBatch(IReadOnlyList<FlowSample> Columns, Tensor Timesteps)
{
    /// <summary>A batch of packed stages of as many rows each.</summary>
    /// <param name="columns">The stages, lowest resolution first.</param>
    public static FlowBatch Of(IReadOnlyList<FlowSample> columns) => new(columns, Tensor.Stack([.. columns.Select(column => column.Timesteps)], 1).Flatten(0));

    /// <summary>The input of <see cref="PyramidTransformer.Forward"/>.</summary>
    public IReadOnlyList<IReadOnlyList<Tensor>> Stages => [.. Columns.Select(c => c.Clips)];

    /// <summary>Number of video tokens.</summary>
    public long Tokens => Columns.Sum(column => column.Clips.Sum(clip => clip.Size(0) * ClipSize.Of(clip).Tokens));

    /// <summary>All tensors with names, for saving.</summary>
    public IEnumerable<(string Key, Tensor Tensor)> Named()
    {
        for (var i = 0; i < Columns.Count; i++)
        {
            for (var clip = 0; clip < Columns[i].Clips.Count; clip++)
                yield return ($"column_{i}.clip_{clip}", Columns[i].Clips[clip]);
            yield return ($"column_{i}.timesteps", Columns[i].Timesteps);
            yield return ($"column_{i}.target", Columns[i].Target);
        }
    }
}
