namespace PyramidFlow.Scheduling;

/// <summary>One stage of the schedule. Sigma 1 is noise, 0 is data.</summary>
/// <param name="OriginalStart">Global sigma at which the stage begins.</param>
/// <param name="Start">That sigma corrected for the upsampling jump into the stage.</param>
/// <param name="End">Sigma at which the stage ends.</param>
/// <param name="Share">Begin and end of its share of the timestep axis, by flow length, within [0, 1].</param>
/// <param name="Timesteps">Training timesteps, falling.</param>
/// <param name="Sigmas">Training weights within the stage, from 1 towards 0.</param>
public sealed record FlowStage(
    double OriginalStart,
    double Start,
    double End,
    (double Begin, double End) Share,
    IReadOnlyList<double> Timesteps,
    IReadOnlyList<double> Sigmas);

/// <summary>The steps of one stage when generating.</summary>
/// <param name="Timesteps">What the model is told, one per step.</param>
/// <param name="Sigmas">Weights within the stage before each step, and 0 after the last.</param>
public sealed record FlowSteps(IReadOnlyList<double> Timesteps, IReadOnlyList<double> Sigmas)
{
    /// <summary>Number of steps.</summary>
    public int Count => Timesteps.Count;
}
