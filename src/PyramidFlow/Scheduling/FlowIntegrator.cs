using PyramidFlow.Torch;

namespace PyramidFlow.Scheduling;

/// <summary>Takes a sample through the steps of one stage, in their order; what a solver remembers of earlier steps is its own.</summary>
/// <param name="steps">From <see cref="PyramidFlowScheduler.Steps(int, int, FlowSolver)"/>, for the same solver.</param>
/// <param name="solver">How to step.</param>
public sealed class FlowIntegrator(FlowSteps steps, FlowSolver solver) : IDisposable
{
    private Tensor? start, middle;

    /// <summary>One step.</summary>
    /// <param name="sample">The sample before it.</param>
    /// <param name="velocity">The model's prediction there.</param>
    /// <param name="step">Its number, from 0.</param>
    /// <returns>The sample after it, of the velocity's element type.</returns>
    public Tensor Step(Tensor sample, Tensor velocity, int step)
    {
        var (sigma, next) = (steps.Sigmas[step], steps.Sigmas[step + 1]);
        if (solver == FlowSolver.Euler)
            return PyramidFlowScheduler.Step(sample, velocity, sigma, next);
        using var scope = new TensorScope();
        if (step % 2 == 1)
        {
            var end = PyramidFlowScheduler.Step(start!, velocity, steps.Sigmas[step - 1], next);
            Dispose();
            middle = TensorScope.Release(velocity.Detach());
            return scope.Keep(end);
        }

        if (step < steps.Count - 1 || middle is null)
        {
            Dispose();
            start = TensorScope.Release(sample.Detach());
            return scope.Keep(PyramidFlowScheduler.Step(sample, velocity, sigma, next));
        }

        // A step that is left over: along the line through the last two velocities (two-step Adams-Bashforth).
        var slope = velocity.To(ElementType.Float32);
        var ahead = (next - sigma) / (sigma - steps.Sigmas[step - 1]) / 2;
        return scope.Keep(PyramidFlowScheduler.Step(sample, slope.Add(slope - middle.To(ElementType.Float32), ahead), sigma, next).To(velocity.Type));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        start?.Dispose();
        middle?.Dispose();
        (start, middle) = (null, null);
    }
}
