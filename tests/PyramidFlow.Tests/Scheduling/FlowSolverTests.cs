using System.Text.Json;
using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Scheduling;

public class FlowSolverTests
{
    private static readonly PyramidFlowScheduler Scheduler = new();

    [Fact]
    public void Euler_is_the_released_step_to_the_bit()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(3);
        var steps = Scheduler.Steps(1, 4, FlowSolvers.Euler);
        Assert.Equal(Scheduler.Steps(1, 4).Sigmas, steps.Sigmas);
        Assert.Equal(Scheduler.Steps(1, 4).Timesteps, steps.Timesteps);
        foreach (var type in new[] { ElementType.Float32, ElementType.BFloat16 })
        {
            using var integrator = FlowSolvers.Euler.Begin(steps);
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
            var steps = Scheduler.Steps(2, count, FlowSolvers.SecondOrder);
            Assert.Equal((count, count + 1), (steps.Timesteps.Count, steps.Sigmas.Count));
            Assert.Equal((1, 0), (steps.Sigmas[0], steps.Sigmas[^1]));
            Assert.All(steps.Sigmas.Zip(steps.Sigmas.Skip(1)), pair => Assert.Equal(1.0 / count, pair.First - pair.Second, 1e-12));
            Assert.Equal(Scheduler.Stages[2].Timesteps[0], steps.Timesteps[0]);
        }
    }

    [Fact]
    public void Equal_steps_are_the_training_points_and_end_where_the_stage_ends()
    {
        foreach (var stage in Scheduler.Stages)
        {
            var (timesteps, sigmas) = stage.UniformGrid(Scheduler.Options.NumTrainTimesteps);
            Assert.All(stage.Timesteps.Zip(timesteps), pair => Assert.Equal(pair.First, pair.Second, 1e-9));
            Assert.All(stage.Sigmas.Zip(sigmas), pair => Assert.Equal(pair.First, pair.Second, 1e-12));
            var last = Math.Min((int)(stage.Share.End * Scheduler.Options.NumTrainTimesteps), Scheduler.Options.NumTrainTimesteps - 1);
            Assert.Equal(Scheduler.Timesteps[last], timesteps[^1], 1e-6);
            Assert.Equal(0, sigmas[^1]);
            Assert.Equal(timesteps[..^1], Scheduler.Steps(Scheduler.Stages.ToList().IndexOf(stage), timesteps.Length - 1, FlowSolvers.Uniform).Timesteps);
        }
    }

    [Fact]
    public void Stages_of_equal_parts_divide_the_axis_and_time_as_written()
    {
        var stages = PyramidFlowScheduler.OfStages(4).Stages;
        Assert.Equal([0.75, 0.5, 0.25, 0], stages.Select(stage => Math.Round(stage.End, 6)));
        Assert.Equal([1, 0.75, 0.5, 0.25], stages.Select(stage => Math.Round(stage.StartBeforeUpsampling, 6)));
        Assert.Equal((0d, 1d), (stages[0].Share.Begin, stages[^1].Share.End));
        Assert.All(stages.Zip(stages.Skip(1)), pair => Assert.Equal(pair.First.Share.End, pair.Second.Share.Begin));
        // An axis may also be used in part.
        Assert.Equal(0.1f, new PyramidFlowScheduler(new FlowOptions { Stages = 1, StageRange = [0, 0.9] }).Stages[0].End, 1e-6);
    }

    [Fact]
    public void Impossible_options_and_calls_are_refused_and_the_least_possible_ones_are_not()
    {
        foreach (var (options, named) in new (FlowOptions, string)[]
        {
            (new FlowOptions { NumTrainTimesteps = 1 }, "1 training timesteps"), (new FlowOptions { Shift = 0 }, "shift 0"), (new FlowOptions { Shift = double.NaN }, "shift NaN"),
            (new FlowOptions { Stages = 0, StageRange = [0] }, "0 stages"), (new FlowOptions { Stages = 2 }, "stage range"), (new FlowOptions { StageRange = [0, 0.5, 0.5, 1] }, "stage range"),
            (new FlowOptions { StageRange = [-0.1, 0.3, 0.6, 1] }, "stage range"), (new FlowOptions { StageRange = [0, 0.3, 0.6, 1.1] }, "stage range"), (new FlowOptions { Gamma = 0 }, "gamma 0"),
        })
        {
            Assert.Contains(named, Assert.Throws<ArgumentException>(() => new PyramidFlowScheduler(options)).Message, StringComparison.Ordinal);
        }

        Assert.Equal(2, new PyramidFlowScheduler(new FlowOptions { NumTrainTimesteps = 2, Stages = 1, StageRange = [0, 1] }).Timesteps.Count);
        Assert.Throws<ArgumentOutOfRangeException>(() => Scheduler.Steps(0, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => Scheduler.RenoiseFactors(0));
    }

    [Fact]
    public void A_solver_keeps_no_tensor_of_a_stage_that_is_done_or_given_up()
    {
        using var scope = new TensorScope();
        var before = Tensor.LiveCount;
        foreach (var (solver, evaluations) in new[] { (FlowSolvers.SecondOrder, 4), (FlowSolvers.SecondOrder, 3), (FlowSolvers.Heun, 4), (FlowSolvers.Heun, 1) })
        {
            var steps = Scheduler.Steps(0, 2, solver);
            using (var inner = new TensorScope())
            using (var integrator = solver.Begin(steps))
            {
                var x = Tensor.From([1f]);
                for (var i = 0; i < Math.Min(evaluations, steps.Count); i++)
                    x = integrator.Step(x, x * 2, i);
            }

            Assert.Equal(before, Tensor.LiveCount);
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
            var steps = Scheduler.Steps(0, count, FlowSolvers.SecondOrder);
            using var integrator = FlowSolvers.SecondOrder.Begin(steps);
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
        var steps = Scheduler.Steps(0, 1, FlowSolvers.SecondOrder);
        using var integrator = FlowSolvers.SecondOrder.Begin(steps);
        Assert.Equal([2f], integrator.Step(Tensor.From([5f]), Tensor.From([3f]), 0).ToArray<float>());
    }

    [Fact]
    public void Heun_evaluates_both_ends_of_every_step_but_never_at_the_data()
    {
        foreach (var (stage, count) in new[] { (0, 1), (1, 2), (2, 5) })
        {
            var steps = Scheduler.Steps(stage, count, FlowSolvers.Heun);
            Assert.Equal(((2 * count) - 1, (2 * count) - 1, 2 * count), (FlowSolvers.Heun.Evaluations(count), steps.Count, steps.Sigmas.Count));
            Assert.Equal((1, 0), (steps.Sigmas[0], steps.Sigmas[^1]));
            for (var i = 1; i < steps.Count - 1; i += 2)
                Assert.Equal((steps.Sigmas[i], steps.Timesteps[i]), (steps.Sigmas[i + 1], steps.Timesteps[i + 1]));
            Assert.Equal(1.0 / count, steps.Sigmas[^2], 1e-6);
        }
    }

    // x' = x + sigma as above.
    [Fact]
    public void Heun_takes_trapezoidal_steps_and_its_error_falls_with_the_square()
    {
        using var scope = new TensorScope();
        var errors = new List<double>();
        foreach (var count in new[] { 8, 16, 32 })
        {
            var steps = Scheduler.Steps(0, count, FlowSolvers.Heun);
            using var integrator = FlowSolvers.Heun.Begin(steps);
            var x = Tensor.From([1f]);
            for (var i = 0; i < steps.Count; i++)
                x = integrator.Step(x, x + steps.Sigmas[i], i);

            double plain = 1, sigma = 1, step = -1.0 / count;
            for (var i = 0; i < count; i++, sigma += step)
            {
                // The last step is an Euler step.
                var slope = plain + sigma;
                plain += step * (i == count - 1 ? slope : (slope + plain + (step * slope) + sigma + step) / 2);
            }

            Assert.Equal(plain, x.ToArray<float>()[0], 1e-5);
            errors.Add(Math.Abs(plain - ((3 / Math.E) - 1)));
        }

        Assert.InRange(errors[0] / errors[1], 3.3, 4.7);
        Assert.InRange(errors[1] / errors[2], 3.3, 4.7);
    }

    [Fact]
    public void Heun_keeps_the_type_of_the_velocity()
    {
        using var scope = new TensorScope();
        using var integrator = FlowSolvers.Heun.Begin(Scheduler.Steps(0, 2, FlowSolvers.Heun));
        var predicted = integrator.Step(Tensor.From([5f]).To(ElementType.BFloat16), Tensor.From([3f]).To(ElementType.BFloat16), 0);
        var end = integrator.Step(predicted, Tensor.From([1f]).To(ElementType.BFloat16), 1);
        Assert.Equal((ElementType.BFloat16, ElementType.BFloat16), (predicted.Type, end.Type));
        Assert.Equal([3.5f], predicted.To(ElementType.Float32).ToArray<float>());
        Assert.Equal([4f], end.To(ElementType.Float32).ToArray<float>());
    }

    [Fact]
    public void Solvers_have_names_and_an_unknown_name_lists_them()
    {
        Assert.Subset(FlowSolvers.Names.ToHashSet(), new HashSet<string> { "euler", "heun", "second-order" });
        Assert.All(FlowSolvers.Names, name => Assert.Equal(name, FlowSolvers.Get(name).Name));
        Assert.Equal($"there is no solver rk9: use {FlowSolvers.Choices}", Assert.Throws<ArgumentException>(() => FlowSolvers.Get("rk9")).Message);
        Assert.Equal("\"heun\"", JsonSerializer.Serialize(FlowSolvers.Heun));
        Assert.Same(FlowSolvers.SecondOrder, JsonSerializer.Deserialize<IFlowSolver>("\"second-order\""));
        Assert.Contains("rk9", Assert.Throws<JsonException>(() => JsonSerializer.Deserialize<IFlowSolver>("\"rk9\"")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_solver_is_one_type_that_registers_itself()
    {
        Assert.Same(ThreefoldEuler.Registered, FlowSolvers.Get("threefold-euler"));
        Assert.Contains("threefold-euler", FlowSolvers.Names);
        Assert.Throws<ArgumentException>(() => FlowSolvers.Register(new ThreefoldEuler()));
        var approximations = new Approximations { Solver = FlowSolvers.Get("threefold-euler") };
        var plan = new SamplingPlan(16, 24, 1, [2, 3, 4], [1, 1, 1], [null, null]) { Approximations = approximations };
        Assert.Equal([6, 9, 12, 3], new[] { plan.EvaluationsOf(0, 0), plan.EvaluationsOf(0, 1), plan.EvaluationsOf(0, 2), plan.EvaluationsOf(1, 0) });
        var steps = Scheduler.Steps(1, 2, approximations.Solver);
        using var scope = new TensorScope();
        using var integrator = approximations.Solver.Begin(steps);
        var x = Tensor.From([1f]);
        for (var i = 0; i < steps.Count; i++)
            x = integrator.Step(x, Tensor.From([2f]), i);
        Assert.Equal(-1f, x.ToArray<float>()[0], 1e-6f);
    }

    [Fact]
    public void A_stage_leaves_no_tensor()
    {
        var live = Tensor.LiveCount;
        using (new TensorScope())
        {
            var steps = Scheduler.Steps(0, 3, FlowSolvers.SecondOrder);
            using var integrator = FlowSolvers.SecondOrder.Begin(steps);
            for (var i = 0; i < steps.Count; i++)
                integrator.Step(Tensor.Zeros([2]), Tensor.Zeros([2]), i);
        }

        Assert.Equal(live, Tensor.LiveCount);
    }

    // Three Euler steps for one.
    private sealed class ThreefoldEuler : IFlowSolver
    {
        internal static IFlowSolver Registered { get; } = FlowSolvers.Register(new ThreefoldEuler());

        public string Name => "threefold-euler";

        public int Evaluations(int steps) => 3 * steps;

        public FlowSteps Plan(FlowStage stage, int steps) => FlowSolvers.Euler.Plan(stage, 3 * steps);

        public IFlowIntegrator Begin(FlowSteps plan) => FlowSolvers.Euler.Begin(plan);
    }
}
