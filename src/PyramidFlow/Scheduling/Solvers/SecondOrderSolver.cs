using PyramidFlow.Torch;

namespace PyramidFlow.Scheduling;

/// <summary>
/// Explicit midpoint rule (Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", II.1) on a uniform grid, one evaluation a step.
/// Steps form pairs: the first step of a pair leads to its midpoint, whose velocity takes the pair from its start to its end. The error of a stage
/// falls with the square of the number of steps.
/// </summary>
public sealed class SecondOrderSolver : IFlowSolver
{
    /// <inheritdoc/>
    public string Name => "second-order";

    /// <inheritdoc/>
    public int Evaluations(int steps) => steps;

    /// <inheritdoc/>
    public FlowSteps Plan(FlowStage stage, int steps)
    {
        var (timesteps, sigmas) = stage.UniformGrid(steps);
        return new FlowSteps(timesteps[..^1], sigmas);
    }

    /// <inheritdoc/>
    public IFlowIntegrator Begin(FlowSteps plan) => new Integrator(plan);

    private sealed class Integrator(FlowSteps plan) : IFlowIntegrator
    {
        private Tensor? start, middle;

        public Tensor Step(Tensor sample, Tensor velocity, int evaluation)
        {
            using var scope = new TensorScope();
            var (sigma, next) = (plan.Sigmas[evaluation], plan.Sigmas[evaluation + 1]);
            if (evaluation % 2 == 1)
            {
                var end = PyramidFlowScheduler.Step(start!, velocity, plan.Sigmas[evaluation - 1], next);
                Dispose();
                middle = TensorScope.Release(velocity.Detach());
                return scope.Keep(end);
            }

            if (evaluation < plan.Count - 1 || middle is null)
            {
                Dispose();
                start = TensorScope.Release(sample.Detach());
                return scope.Keep(PyramidFlowScheduler.Step(sample, velocity, sigma, next));
            }

            // An odd number of steps leaves one without a partner: extrapolate from the last two velocities (two-step Adams-Bashforth).
            var slope = velocity.To(ElementType.Float32);
            var ahead = (next - sigma) / (sigma - plan.Sigmas[evaluation - 1]) / 2;
            return scope.Keep(PyramidFlowScheduler.Step(sample, slope.Add(slope - middle.To(ElementType.Float32), ahead), sigma, next).To(velocity.Type));
        }

        public void Dispose()
        {
            start?.Dispose();
            middle?.Dispose();
            (start, middle) = (null, null);
        }
    }
}

/// <content>Registers the midpoint rule.</content>
public static partial class FlowSolvers
{
    /// <summary>The explicit midpoint rule over pairs of steps.</summary>
    public static IFlowSolver SecondOrder { get; } = Register(new SecondOrderSolver());
}
