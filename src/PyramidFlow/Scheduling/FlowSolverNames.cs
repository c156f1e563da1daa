namespace PyramidFlow.Scheduling;

/// <summary>What people call the solvers, on a command line, in a request and in a file's notes.</summary>
public static class FlowSolverNames
{
    internal const string Euler = "euler";
    internal const string SecondOrder = "second-order";

    /// <summary>Each solver by its name.</summary>
    public static IReadOnlyDictionary<string, FlowSolver> All { get; } =
        new Dictionary<string, FlowSolver> { [Euler] = FlowSolver.Euler, [SecondOrder] = FlowSolver.SecondOrder };
}
