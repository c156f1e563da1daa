using PyramidFlow.Scheduling;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Scheduling;

public class FlowIntegratorTests
{
    private static readonly PyramidFlowScheduler Scheduler = new();

    [Fact]
    public void Euler_is_the_released_step_to_the_bit()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(3);
        var steps = Scheduler.Steps(1, 4, FlowSolver.Euler);
        Assert.Equal(Scheduler.Steps(1, 4).Sigmas, steps.Sigmas);
        Assert.Equal(Scheduler.Steps(1, 4).Timesteps, steps.Timesteps);
        foreach (var type in new[] { ElementType.Float32, ElementType.BFloat16 })
        {
            using var integrator = new FlowIntegrator(steps, FlowSolver.Euler);
            for (var step = 0; step < steps.Count; step++)
            {
                var (x, v) = (Tensor.Randn([2, 3], generator, type), Tensor.Randn([2, 3], generator, type));
                var (plain, actual) = (PyramidFlowScheduler.Step(x, v, steps.Sigmas[step], steps.Sigmas[step + 1]), integrator.Step(x, v, step));
                Assert.Equal(type, actual.Type);
                Assert.Equal(plain.To(ElementType.Float32).ToArray<float>(), actual.To(ElementType.Float32).ToArray<float>());
            }
        }
    }

    [Fact]
    public void Steps_of_second_order_are_even_and_end_at_the_data()
    {
        foreach (var count in new[] { 1, 2, 5, 10 })
        {
            var steps = Scheduler.Steps(2, count, FlowSolver.SecondOrder);
            Assert.Equal((count, count + 1), (steps.Timesteps.Count, steps.Sigmas.Count));
            Assert.Equal((1, 0), (steps.Sigmas[0], steps.Sigmas[^1]));
            Assert.All(steps.Sigmas.Zip(steps.Sigmas.Skip(1)), pair => Assert.Equal(1.0 / count, pair.First - pair.Second, 1e-12));
            Assert.Equal(Scheduler.Stages[2].Timesteps[0], steps.Timesteps[0]);
        }
    }

    // x' = x + sigma from x(1) = 1: x = 3 e^(sigma - 1) - sigma - 1, so that x(0) = 3/e - 1.
    [Fact]
    public void Second_order_takes_midpoint_steps_and_its_error_falls_with_the_square()
    {
        using var scope = new TensorScope();
        var exact = (3 / Math.E) - 1;
        var errors = new List<double>();
        foreach (var count in new[] { 16, 32, 64, 17, 33, 65 })
        {
            var steps = Scheduler.Steps(0, count, FlowSolver.SecondOrder);
            using var integrator = new FlowIntegrator(steps, FlowSolver.SecondOrder);
            var x = Tensor.From([1f]);
            for (var i = 0; i < count; i++)
                x = integrator.Step(x, x + steps.Sigmas[i], i);

            // The textbook forms: midpoint steps of twice the width, then, where one step is left, x + h (3/2 f - 1/2 before).
            double plain = 1, sigma = 1, before = 0;
            var step = -1.0 / count;
            for (var pair = 0; pair < count / 2; pair++, sigma += 2 * step)
            {
                before = plain + (step * (plain + sigma)) + sigma + step;
                plain += 2 * step * before;
            }

            if (count % 2 == 1)
                plain += step * ((1.5 * (plain + sigma)) - (0.5 * before));
            Assert.Equal(plain, x.ToArray<float>()[0], 1e-5);
            errors.Add(Math.Abs(plain - exact));
        }

        Assert.InRange(errors[0] / errors[1], 3.3, 4.7);
        Assert.InRange(errors[1] / errors[2], 3.3, 4.7);
        Assert.InRange(errors[3] / errors[4], 3.3, 4.7);
        Assert.InRange(errors[4] / errors[5], 3.3, 4.7);
    }

    [Fact]
    public void One_step_of_second_order_is_an_Euler_step()
    {
        using var scope = new TensorScope();
        var steps = Scheduler.Steps(0, 1, FlowSolver.SecondOrder);
        using var integrator = new FlowIntegrator(steps, FlowSolver.SecondOrder);
        Assert.Equal([2f], integrator.Step(Tensor.From([5f]), Tensor.From([3f]), 0).ToArray<float>());
    }

    [Fact]
    public void A_stage_leaves_no_tensor()
    {
        var live = Tensor.LiveCount;
        using (new TensorScope())
        {
            var steps = Scheduler.Steps(0, 3, FlowSolver.SecondOrder);
            using var integrator = new FlowIntegrator(steps, FlowSolver.SecondOrder);
            for (var i = 0; i < steps.Count; i++)
                integrator.Step(Tensor.Zeros([2]), Tensor.Zeros([2]), i);
        }

        Assert.Equal(live, Tensor.LiveCount);
    }
}
