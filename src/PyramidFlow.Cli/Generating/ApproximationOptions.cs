using System.CommandLine;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Scheduling.Solvers;

namespace PyramidFlow.Cli.Generating;

/// <summary>The options that save work and change the result a little; the same for every command that samples.</summary>
internal sealed class ApproximationOptions
{
    private readonly Option<int?> reusePrefix = CliOptions.Whole("--reuse-prefix", "N",
        "compute text and history once for N neighbouring steps of a stage, such as 2 [default: 1, exact]", 1);
    private readonly Option<int?> guidanceEvery = CliOptions.Whole("--guidance-every", "N",
        "compute guidance in every N-th step of a stage, such as 2, and repeat it between [default: 1, exact]", 1);
    private readonly Option<string?> solver = CliOptions.Choice("--solver",
        "how to integrate the flow; second-order and heun need fewer --steps and --video-steps, and heun computes each step twice [default: euler]", [.. FlowSolvers.Names]);

    public void AddTo(ExampledCommand command) =>
        command.Group("Savings that change the result a little (docs/approximations.md)", reusePrefix, guidanceEvery, solver);

    /// <summary>A clip with what was asked for.</summary>
    public ClipArguments Read(ParseResult parsed, ClipArguments clip) => clip with
    {
        ReusePrefix = parsed.GetValue(reusePrefix),
        GuidanceEvery = parsed.GetValue(guidanceEvery),
        Solver = parsed.GetValue(solver) is { } name ? Values.Solver(name) : null,
    };
}
