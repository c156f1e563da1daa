using PyramidFlow.Torch;

namespace PyramidFlow.Scheduling;

/// <summary>
/// Pyramidal flow matching schedule: a window of the noise axis for every stage, and Euler steps along the flow (paper
/// section 3.1; <c>diffusion_schedulers/scheduling_flow_matching.py</c>). It holds tables only and can serve any number of
/// runs at once.
/// </summary>
public sealed class PyramidFlowScheduler
{
    /// <summary>Makes the tables.</summary>
    /// <exception cref="ArgumentException">An option is impossible.</exception>
    public PyramidFlowScheduler(FlowOptions? options = null)
    {
        Options = options ?? new FlowOptions();
        Options.Check();
        Sigmas = GlobalSigmas();
        Timesteps = [.. Sigmas.Select(s => s * Options.NumTrainTimesteps)];
        Stages = MakeStages();
    }

    /// <summary>What it was made from.</summary>
    public FlowOptions Options { get; }

    /// <summary>The global sigmas, falling from 1; float32 as in the released system.</summary>
    public IReadOnlyList<float> Sigmas { get; }

    /// <summary>The global timesteps: sigma x number of training timesteps.</summary>
    public IReadOnlyList<float> Timesteps { get; }

    /// <summary>The stages, lowest resolution first.</summary>
    public IReadOnlyList<FlowStage> Stages { get; }

    /// <summary>The steps of a stage when generating in <paramref name="count"/> steps.</summary>
    /// <param name="stage">0 is the lowest resolution.</param>
    /// <param name="count">At least 1.</param>
    public FlowSteps Steps(int stage, int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        var (timesteps, sigmas) = (Stages[stage].Timesteps, Stages[stage].Sigmas);
        return new FlowSteps(Linspace(timesteps[0], timesteps[^1], count), [.. Linspace(sigmas[0], sigmas[^1], count), 0]);
    }

    /// <summary>The steps of a stage for a solver.</summary>
    /// <param name="stage">0 is the lowest resolution.</param>
    /// <param name="count">At least 1.</param>
    /// <param name="solver">
    /// Euler's are the released system's, the last of which is only a thousandth of the stage; those of second order are even.
    /// </param>
    public FlowSteps Steps(int stage, int count, FlowSolver solver)
    {
        if (solver == FlowSolver.Euler)
            return Steps(stage, count);
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        var (timesteps, sigmas) = (Stages[stage].Timesteps, Stages[stage].Sigmas);
        // Both tables fall evenly; where the sigmas would reach 0 the timesteps reach this.
        var end = timesteps[0] + ((timesteps[^1] - timesteps[0]) * sigmas[0] / (sigmas[0] - sigmas[^1]));
        return new FlowSteps(Linspace(timesteps[0], end, count + 1)[..^1], Linspace(sigmas[0], 0, count + 1));
    }

    /// <summary>One Euler step along the flow, in float32: x + (next - sigma) * v.</summary>
    /// <param name="sample">The sample at <paramref name="sigma"/>.</param>
    /// <param name="velocity">The model's prediction there.</param>
    /// <param name="sigma">Weight before the step.</param>
    /// <param name="next">Weight after it.</param>
    /// <returns>Of the velocity's element type.</returns>
    public static Tensor Step(Tensor sample, Tensor velocity, double sigma, double next)
    {
        // Newer libtorchs would not round a plain number to the velocity's type.
        var length = Tensor.Full([], next - sigma, velocity.Type);
        return (sample.To(ElementType.Float32) + velocity * length).To(velocity.Type);
    }

    /// <summary>
    /// A guess at the data behind a sample: the flow of a stage goes straight from more noise to less, so its velocity tells
    /// the noise that is left. Exact at the end of the last stage.
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
    /// How to go on from an upsampled sample into a stage: alpha * x + beta * <see cref="BlockNoise"/> has the distribution
    /// training starts from (paper eq. 15, appendix A).
    /// </summary>
    /// <param name="stage">The stage that begins; at least 1.</param>
    public (double Alpha, double Beta) Renoise(int stage)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(stage, 1);
        var (gamma, data) = (Options.Gamma, 1 - Stages[stage].OriginalStart);
        var alpha = 1 / ((Math.Sqrt(1 + (1 / gamma)) * (1 - data)) + data);
        return (alpha, alpha * (1 - data) / Math.Sqrt(gamma));
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
            windows[k] = (original, k == 0 ? original : Corrected(original), end < n ? Sigmas[end] : 0);
        }

        var lengths = windows.Select(w => w.Start - w.End).ToArray();
        var total = lengths.Sum();
        return [.. windows.Select((w, k) =>
        {
            var begin = k == 0 ? 0 : lengths.Take(k).Sum() / total;
            var end = k == windows.Length - 1 ? 1 : lengths.Take(k + 1).Sum() / total;
            double first = Timesteps[(int)(begin * n)], last = Timesteps[Math.Min((int)(end * n), n - 1)];
            return new FlowStage(w.Original, w.Start, w.End, (begin, end),
                Linspace(first, last, n + 1)[..^1], Linspace(1, 0, n + 1)[..^1]);
        })];
    }

    // Upsampling by 2 leaves the data part as it is but correlates the noise; the renoised sample has a smaller data part.
    private double Corrected(double sigma)
    {
        var data = 1 - sigma;
        return 1 - (1 / ((Math.Sqrt(1 + (1 / Options.Gamma)) * (1 - data)) + data) * data);
    }

    private static double[] Linspace(double first, double last, int count)
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
