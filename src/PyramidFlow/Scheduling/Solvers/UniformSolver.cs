namespace PyramidFlow.Scheduling;

/// <summary>
/// Euler steps of equal length, from the beginning of a stage to its end. The points of <see cref="EulerSolver"/> leave a thousandth of the stage to the last evaluation, which is one of very few
/// in a model that is distilled to few steps: such a model is trained on these points and sampled on them.
/// </summary>
public sealed class UniformSolver : IFlowSolver
{
    /// <inheritdoc/>
    public string Name => "uniform";

    /// <inheritdoc/>
    public int Evaluations(int steps) => steps;

    /// <inheritdoc/>
    public FlowSteps Plan(FlowStage stage, int steps)
    {
        var (timesteps, sigmas) = stage.UniformGrid(steps);
        return new FlowSteps(timesteps[..^1], sigmas);
    }

    /// <inheritdoc/>
    public IFlowIntegrator Begin(FlowSteps plan) => FlowSolvers.Euler.Begin(plan);
}

/// <content>Registers the solver of equal steps.</content>
public static partial class FlowSolvers
{
    /// <summary>Euler steps of equal length: the default of models that are distilled to few steps.</summary>
    public static IFlowSolver Uniform { get; } = Register(new UniformSolver());
}
