using PyramidFlow.Torch;

namespace PyramidFlow.Scheduling;

/// <summary>
/// Pyramidal flow matching schedule: a window of the noise axis for every stage (paper section 3.1;
/// <c>diffusion_schedulers/scheduling_flow_matching.py</c>). It holds tables only and can serve any number of runs at once.
/// </summary>
internal sealed class PyramidFlowScheduler
{
    /// <summary>Computes the tables.</summary>
    /// <exception cref="ArgumentException">An option is impossible.</exception>
    public PyramidFlowScheduler(FlowOptions? options = null)
    {
        Options = options ?? new FlowOptions();
        Options.Check();
        Sigmas = GlobalSigmas();
        Timesteps = [.. Sigmas.Select(s => s * Options.NumTrainTimesteps)];
        Stages = MakeStages();
    }

    /// <summary>The released schedule, divided into stages of equal parts of the axis.</summary>
    /// <param name="stages">At least 1; the released models have 3.</param>
    internal static PyramidFlowScheduler OfStages(int stages) =>
        new(new FlowOptions { Stages = stages, StageRange = [.. Enumerable.Range(0, stages + 1).Select(i => (double)i / stages)] });

    /// <summary>The options of the schedule.</summary>
    public FlowOptions Options { get; }

    /// <summary>The global sigmas, falling from 1; float32 as in the released system.</summary>
    public IReadOnlyList<float> Sigmas { get; }

    /// <summary>The global timesteps: sigma x number of training timesteps.</summary>
    public IReadOnlyList<float> Timesteps { get; }

    /// <summary>The stages, lowest resolution first.</summary>
    public IReadOnlyList<FlowStage> Stages { get; }

    /// <summary>The points at which a solver evaluates the model.</summary>
    /// <param name="stage">0 is the lowest resolution.</param>
    /// <param name="count">Steps of the stage, at least 1.</param>
    /// <param name="solver">Null is <see cref="FlowSolvers.Euler"/>, as in the released system.</param>
    public FlowSteps Steps(int stage, int count, IFlowSolver? solver = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        return (solver ?? FlowSolvers.Euler).Plan(Stages[stage], count);
    }

    /// <summary>One Euler step along the flow, in float32: x + (next - sigma) * v.</summary>
    /// <param name="sample">The sample at <paramref name="sigma"/>.</param>
    /// <param name="velocity">The model's prediction there.</param>
    /// <param name="sigma">Weight before the step.</param>
    /// <param name="next">Weight after it.</param>
    /// <returns>Of the velocity's element type.</returns>
    public static Tensor Step(Tensor sample, Tensor velocity, double sigma, double next)
    {
        // A tensor, because newer libtorch versions do not round a plain number to the velocity's type.
        var length = Tensor.Full([], next - sigma, velocity.Type);
        return (sample.To(ElementType.Float32) + velocity * length).To(velocity.Type);
    }

    /// <summary>
    /// Estimates the data behind a sample: the flow of a stage is a straight line from more noise to less, so the velocity gives
    /// the remaining noise. Exact at the end of the last stage.
    /// </summary>
    /// <param name="stage">The stage.</param>
    /// <param name="sample">The sample at <paramref name="sigma"/>.</param>
    /// <param name="velocity">The model's prediction near it.</param>
    /// <param name="sigma">Weight within the stage, 1 to 0.</param>
    /// <returns>Of the sample's shape, float32.</returns>
    public Tensor Clean(int stage, Tensor sample, Tensor velocity, double sigma)
    {
        var (start, end) = (Stages[stage].Start, Stages[stage].End);
        var noise = end + (sigma * (start - end));
        return sample.To(ElementType.Float32) - velocity.To(ElementType.Float32) * (noise / (start - end));
    }

    /// <summary>
    /// Factors of the renoising at a stage jump: alpha * x + beta * <see cref="BlockNoise"/> of an upsampled sample x has the distribution
    /// that training starts from (paper eq. 15, appendix A).
    /// </summary>
    /// <param name="stage">The stage that begins; at least 1.</param>
    public (double Alpha, double Beta) RenoiseFactors(int stage)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(stage, 1);
        var noise = Stages[stage].StartBeforeUpsampling;
        var alpha = Alpha(noise);
        return (alpha, alpha * noise / Math.Sqrt(Options.Gamma));
    }

    private float[] GlobalSigmas()
    {
        var (n, shift) = (Options.NumTrainTimesteps, Options.Shift);
        var sigmas = new float[n];
        for (var i = 0; i < n; i++)
        {
            var s = (float)(n - i) / n;
            sigmas[i] = (float)shift * s / (1 + ((float)(shift - 1) * s));
        }

        return sigmas;
    }

    private FlowStage[] MakeStages()
    {
        var n = Options.NumTrainTimesteps;
        var windows = new (double Original, double Start, double End)[Options.Stages];
        for (var k = 0; k < windows.Length; k++)
        {
            var (begin, end) = ((int)(Options.StageRange[k] * n), (int)(Options.StageRange[k + 1] * n));
            double original = Sigmas[begin];
            windows[k] = (original, k == 0 ? original : StartAfterUpsampling(original), end < n ? Sigmas[end] : 0);
        }

        var lengths = windows.Select(w => w.Start - w.End).ToArray();
        var total = lengths.Sum();
        return [.. windows.Select((w, k) =>
        {
            var begin = k == 0 ? 0 : lengths.Take(k).Sum() / total;
            var end = k == windows.Length - 1 ? 1 : lengths.Take(k + 1).Sum() / total;
            double first = Timesteps[(int)(begin * n)], last = Timesteps[Math.Min((int)(end * n), n - 1)];
            return new FlowStage(w.Original, w.Start, w.End, (begin, end),
                FlowStage.Linspace(first, last, n + 1)[..^1], FlowStage.Linspace(1, 0, n + 1)[..^1]);
        })];
    }

    // Upsampling by 2 keeps the data part but correlates the noise; the renoised sample has a smaller data part. Training begins there too.
    private double StartAfterUpsampling(double noise) => 1 - (Alpha(noise) * (1 - noise));

    // What the upsampled sample is multiplied with, so that data and noise of the renoised one add up to 1.
    private double Alpha(double noise) => 1 / ((Math.Sqrt(1 + (1 / Options.Gamma)) * noise) + (1 - noise));
}

/// <summary>One stage of the schedule. Sigma 1 is noise, 0 is data.</summary>
/// <param name="StartBeforeUpsampling">Global sigma at which the stage before ends, as the schedule divides the axis.</param>
/// <param name="Start">Global sigma at which the stage begins: the same, corrected for the upsampling jump into the stage.</param>
/// <param name="End">Sigma at which the stage ends.</param>
/// <param name="Share">Begin and end of its share of the timestep axis, by flow length, within [0, 1].</param>
/// <param name="Timesteps">Training timesteps, falling.</param>
/// <param name="Sigmas">Training weights within the stage, from 1 towards 0.</param>
public sealed record FlowStage(
    double StartBeforeUpsampling,
    double Start,
    double End,
    (double Begin, double End) Share,
    IReadOnlyList<double> Timesteps,
    IReadOnlyList<double> Sigmas)
{
    /// <summary>The released system's inference points: evenly spaced from the first entry of the tables to the last, whose sigma is not yet 0.</summary>
    /// <param name="count">At least 1.</param>
    public FlowSteps ReleasedSteps(int count) =>
        new(Linspace(Timesteps[0], Timesteps[^1], count), [.. Linspace(Sigmas[0], Sigmas[^1], count), 0]);

    /// <summary>Evenly spaced points from the beginning of the stage to sigma 0, both included.</summary>
    /// <param name="steps">Steps between them, at least 1.</param>
    /// <returns>steps + 1 timesteps and as many sigmas.</returns>
    public (double[] Timesteps, double[] Sigmas) UniformGrid(int steps)
    {
        // Both tables fall evenly, so they can be continued to sigma 0.
        var end = Timesteps[0] + ((Timesteps[^1] - Timesteps[0]) * Sigmas[0] / (Sigmas[0] - Sigmas[^1]));
        return (Linspace(Timesteps[0], end, steps + 1), Linspace(Sigmas[0], 0, steps + 1));
    }

    internal static double[] Linspace(double first, double last, int count)
    {
        var values = new double[count];
        var step = count > 1 ? (last - first) / (count - 1) : 0;
        for (var i = 0; i < count; i++)
            values[i] = first + (i * step);
        if (count > 1)
            values[^1] = last;
        return values;
    }
}

/// <summary>The points of one stage at which the model is evaluated, in their order.</summary>
/// <param name="Timesteps">The timestep of each evaluation.</param>
/// <param name="Sigmas">The weight within the stage of each evaluation's sample, and 0, the weight of the result.</param>
public sealed record FlowSteps(IReadOnlyList<double> Timesteps, IReadOnlyList<double> Sigmas)
{
    /// <summary>Number of evaluations.</summary>
    public int Count => Timesteps.Count;
}

/// <summary>Options of the pyramidal noise schedule; the defaults are those of the released models.</summary>
public sealed record FlowOptions
{
    /// <summary>Points of the training tables; at least 2.</summary>
    public int NumTrainTimesteps { get; init; } = 1000;

    /// <summary>Shifts the global schedule towards noise; positive, 1 is no shift.</summary>
    public double Shift { get; init; } = 1;

    /// <summary>Stages of the spatial pyramid; at least 1.</summary>
    public int Stages { get; init; } = 3;

    /// <summary>Boundaries of the stages on the noise axis, 0 (pure noise) to 1: rising, one more than there are stages.</summary>
    public IReadOnlyList<double> StageRange { get; init; } = [0, 1 / 3.0, 2 / 3.0, 1];

    /// <summary>Negative correlation of the noise that is added within a 2x2 block at a stage jump; positive, and at most 1/3 for the noise to exist.</summary>
    public double Gamma { get; init; } = 1 / 3.0;

    /// <summary>Refuses impossible values.</summary>
    /// <exception cref="ArgumentException">Names the value and what it may be.</exception>
    internal void Check()
    {
        var rising = StageRange.Zip(StageRange.Skip(1)).All(p => p.First < p.Second);
        var fault =
            NumTrainTimesteps < 2 ? $"{NumTrainTimesteps} training timesteps are too few: at least 2"
            : !(Shift > 0) ? FormattableString.Invariant($"shift {Shift} is not positive")
            : Stages < 1 ? $"{Stages} stages are too few: at least 1"
            : StageRange.Count != Stages + 1 || !rising || StageRange[0] < 0 || StageRange[^1] > 1
                ? $"the stage range of {Stages} stages must be {Stages + 1} rising numbers from 0 to 1"
            : !(Gamma > 0) ? FormattableString.Invariant($"gamma {Gamma} is not positive")
            : null;
        if (fault is not null)
            throw new ArgumentException(fault);
    }
}
