using PyramidFlow.Torch;

namespace PyramidFlow.Scheduling;

/// <summary>Euler steps, as in the released system: x + (next - sigma) * v.</summary>
public sealed class EulerSolver : IFlowSolver
{
    /// <inheritdoc/>
    public string Name => "euler";

    /// <inheritdoc/>
    public int Evaluations(int steps) => steps;

    /// <summary>The released system's points, the last step of which covers only a thousandth of the stage.</summary>
    public FlowSteps Plan(FlowStage stage, int steps) => stage.ReleasedSteps(steps);

    /// <inheritdoc/>
    public IFlowIntegrator Begin(FlowSteps plan) => new Integrator(plan);

    private sealed class Integrator(FlowSteps plan) : IFlowIntegrator
    {
        public Tensor Step(Tensor sample, Tensor velocity, int evaluation) =>
            PyramidFlowScheduler.Step(sample, velocity, plan.Sigmas[evaluation], plan.Sigmas[evaluation + 1]);

        public void Dispose()
        {
        }
    }
}

/// <content>Registers the Euler solver.</content>
public static partial class FlowSolvers
{
    /// <summary>Euler steps: the default.</summary>
    public static IFlowSolver Euler { get; } = Register(new EulerSolver());
}
