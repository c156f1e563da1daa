#!/usr/bin/env dotnet
#:project ../src/PyramidFlow/PyramidFlow.csproj
#:property PublishAot=false
// Errors of the solvers within one stage of a unit, and the velocity along it, on the sprites model in float32: PYRAMIDFLOW_NATIVE=$PWD/artifacts/native dotnet run eng/measure-solvers.cs
using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using static System.FormattableString;

const int ReferenceSteps = 800;
string[] prompts = ["a small red circle moving right on a black background", "a large white star moving up on a navy background"];
using var pipeline = VideoPipeline.Load("models/sprites", new PipelineOptions { Threads = 1, Type = ElementType.Float32 });
for (var stage = 0; stage < 3; stage++)
{
    var reference = await EndsAsync(stage, FlowSolvers.SecondOrder, ReferenceSteps);
    foreach (var (name, solver, evaluations) in new[] { ("euler, even steps", (IFlowSolver)new EvenEuler(), 1), ("second-order", FlowSolvers.SecondOrder, 2), ("heun", FlowSolvers.Heun, 1), ("heun to sigma 0", new WholeHeun(), 1) })
    {
        var errors = new List<string>();
        foreach (var steps in new[] { 5, 10, 20, 40 })
        {
            // Steps of the second-order solver are halves of steps.
            var ends = await EndsAsync(stage, solver, evaluations * steps);
            errors.Add(Invariant($"{steps}: {ends.Zip(reference, Difference).Average():F4}"));
        }

        Console.WriteLine($"stage {stage + 1}, {name}, error after steps: {string.Join(", ", errors)}");
    }

    // As the reference goes, with the velocity at its end, which no solver but Heun's would ask for.
    var watch = new Stage(stage, new EvenEuler { HasEnd = true });
    await EndAsync(watch, ReferenceSteps / 2, prompts[0], 10);
    var v = watch.Velocities;
    Console.WriteLine(Invariant($"stage {stage + 1}, velocity from sigma 1 to its neighbour {Difference(v[0], v[1]):F3}, in the middle {Difference(v[200], v[201]):F3}, from the last one before sigma 0 {Difference(v[^2], v[^1]):F3}"));
}

async Task<List<float[]>> EndsAsync(int stage, IFlowSolver solver, int steps)
{
    var ends = new List<float[]>();
    foreach (var prompt in prompts)
    {
        for (ulong seed = 10; seed < 12; seed++)
            ends.Add(await EndAsync(new Stage(stage, solver), steps, prompt, seed));
    }

    return ends;
}

async Task<float[]> EndAsync(Stage watched, int steps, string prompt, ulong seed)
{
    int[] counts = [20, 20, 20];
    counts[watched.Number] = steps;
    await foreach (var _ in pipeline.GenerateAsync(new GenerationOptions { Prompt = prompt, Frames = 1, Seed = seed, Steps = counts, Solver = watched }))
    {
    }

    return watched.End;
}

static double Difference(float[] one, float[] other) =>
    Math.Sqrt(one.Zip(other, (a, b) => ((double)a - b) * (a - b)).Sum() / other.Sum(b => (double)b * b));

// One stage by a solver, the others by the second-order one; keeps the velocities and the end of the stage.
sealed class Stage(int number, IFlowSolver tested) : IFlowSolver
{
    private bool isTested;

    public int Number => number;

    public string Name => "stage";

    public List<float[]> Velocities { get; } = [];

    public float[] End { get; private set; } = [];

    public int Evaluations(int steps) => steps;

    public FlowSteps Plan(FlowStage stage, int steps)
    {
        isTested = number == (stage.Share.Begin == 0 ? 0 : stage.Share.End == 1 ? 2 : 1);
        return (isTested ? tested : FlowSolvers.SecondOrder).Plan(stage, steps);
    }

    public IFlowIntegrator Begin(FlowSteps plan) => isTested ? new Kept(this, tested.Begin(plan)) : FlowSolvers.SecondOrder.Begin(plan);

    private sealed class Kept(Stage owner, IFlowIntegrator integrator) : IFlowIntegrator
    {
        public Tensor Step(Tensor sample, Tensor velocity, int evaluation)
        {
            owner.Velocities.Add(velocity.ToArray<float>());
            var next = integrator.Step(sample, velocity, evaluation);
            owner.End = next.ToArray<float>();
            return next;
        }

        public void Dispose() => integrator.Dispose();
    }
}

// Euler steps of one length, and with an end one more evaluation at sigma 0, which moves nothing.
sealed class EvenEuler : IFlowSolver
{
    public bool HasEnd { get; init; }

    public string Name => "even-euler";

    public int Evaluations(int steps) => steps + (HasEnd ? 1 : 0);

    public FlowSteps Plan(FlowStage stage, int steps)
    {
        var (timesteps, sigmas) = stage.UniformGrid(steps);
        return HasEnd ? new FlowSteps(timesteps, [.. sigmas, 0]) : new FlowSteps(timesteps[..^1], sigmas);
    }

    public IFlowIntegrator Begin(FlowSteps plan) => FlowSolvers.Euler.Begin(plan);
}

// Heun's method whose last step takes its mean with the velocity at sigma 0.
sealed class WholeHeun : IFlowSolver
{
    public string Name => "whole-heun";

    public int Evaluations(int steps) => 2 * steps;

    public FlowSteps Plan(FlowStage stage, int steps)
    {
        var (timesteps, sigmas) = stage.UniformGrid(steps);
        var plan = FlowSolvers.Heun.Plan(stage, steps);
        return new FlowSteps([.. plan.Timesteps, timesteps[^1]], [.. plan.Sigmas, sigmas[^1]]);
    }

    public IFlowIntegrator Begin(FlowSteps plan) => FlowSolvers.Heun.Begin(plan);
}
