using PyramidFlow.Torch;

namespace PyramidFlow.Scheduling;

/// <summary>
/// Heun's method (explicit trapezoidal rule; Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", II.1) on a uniform grid, two
/// evaluations a step: an Euler step predicts the end of the step, and the mean of the velocities at its start and at its predicted end takes the
/// sample there. The last step of a stage is the Euler step alone, as in Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
/// Models", algorithm 1: models are not trained where sigma is 0, and their velocity there is another one (<c>docs/approximations.md</c>). On a smooth
/// flow the error of a stage falls with the square of the number of steps.
/// </summary>
public sealed class HeunSolver : IFlowSolver
{
    /// <inheritdoc/>
    public string Name => "heun";

    /// <inheritdoc/>
    public int Evaluations(int steps) => (2 * steps) - 1;

    /// <summary>Start and end of each step, and the start of the last one.</summary>
    public FlowSteps Plan(FlowStage stage, int steps)
    {
        var (timesteps, sigmas) = stage.UniformGrid(steps);
        return new FlowSteps([.. Ends(timesteps).SkipLast(1)], [.. Ends(sigmas)]);

        static IEnumerable<double> Ends(double[] grid) => grid.Zip(grid.Skip(1)).SelectMany(step => new[] { step.First, step.Second });
    }

    /// <inheritdoc/>
    public IFlowIntegrator Begin(FlowSteps plan) => new Integrator(plan);

    private sealed class Integrator(FlowSteps plan) : IFlowIntegrator
    {
        private Tensor? start, first;

        public Tensor Step(Tensor sample, Tensor velocity, int evaluation)
        {
            using var scope = new TensorScope();
            if (evaluation % 2 == 0)
            {
                (start, first) = (TensorScope.Release(sample.Detach()), TensorScope.Release(velocity.Detach()));
                return scope.Keep(PyramidFlowScheduler.Step(sample, velocity, plan.Sigmas[evaluation], plan.Sigmas[evaluation + 1]));
            }

            var mean = first!.To(ElementType.Float32).Add(velocity.To(ElementType.Float32), 1) * 0.5;
            var end = PyramidFlowScheduler.Step(start!, mean, plan.Sigmas[evaluation - 1], plan.Sigmas[evaluation]).To(velocity.Type);
            Dispose();
            return scope.Keep(end);
        }

        public void Dispose()
        {
            start?.Dispose();
            first?.Dispose();
            (start, first) = (null, null);
        }
    }
}

/// <content>Registers Heun's method.</content>
public static partial class FlowSolvers
{
    /// <summary>Heun's method.</summary>
    public static IFlowSolver Heun { get; } = Register(new HeunSolver());
}
