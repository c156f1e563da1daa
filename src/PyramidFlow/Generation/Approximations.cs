using PyramidFlow.Scheduling;

namespace PyramidFlow.Generation;

/// <summary>
/// Savings that change the result a little; all are off by default. What each saves and loses: <c>docs/approximations.md</c>.
/// </summary>
public sealed record Approximations
{
    private const int Most = 1000;

    /// <summary>Everything exact.</summary>
    public static Approximations None { get; } = new();

    /// <summary>
    /// For how many neighbouring evaluations of a stage keys and values of text and history are computed once, at the mean of their
    /// timesteps; 1 is exact. Only units after the first of models with temporal causal attention have such a prefix.
    /// </summary>
    public int ReusePrefix { get; init; } = 1;

    /// <summary>
    /// Each stage computes guidance in its first evaluation and then in every evaluation of this number; 1 is exact. The evaluations between run the
    /// prompt only and add what guidance added last.
    /// </summary>
    public int GuidanceEvery { get; init; } = 1;

    /// <summary>The solver that integrates the flow of a stage; the released system uses Euler steps.</summary>
    public IFlowSolver Solver { get; init; } = FlowSolvers.Euler;

    /// <summary>What was asked for; exact where nothing was.</summary>
    public static Approximations Of(int? reusePrefix, int? guidanceEvery, IFlowSolver? solver) => new()
    {
        ReusePrefix = reusePrefix ?? 1,
        GuidanceEvery = guidanceEvery ?? 1,
        Solver = solver ?? FlowSolvers.Euler,
    };

    /// <summary>Whether an evaluation of a guided unit computes guidance.</summary>
    /// <param name="evaluation">Number of the evaluation in the stage, from 0.</param>
    internal bool IsGuided(int evaluation) => evaluation % GuidanceEvery == 0;

    /// <summary>How many neighbouring evaluations one process computes, because they share a prefix or the difference that guidance makes.</summary>
    internal int Together => ReusePrefix * GuidanceEvery;

    /// <summary>How many evaluations of a guided unit's stage compute guidance.</summary>
    internal int GuidedEvaluations(int evaluations) => Parts(evaluations, GuidanceEvery);

    /// <summary>How many timesteps a prefix is computed for.</summary>
    internal int Prefixes(int evaluations) => Parts(evaluations, ReusePrefix);

    /// <summary>Fails on what is impossible.</summary>
    /// <exception cref="RequestException">A value is impossible; says what would be possible.</exception>
    internal void Check()
    {
        if (ReusePrefix is < 1 or > Most)
            throw RequestFault.PrefixReuse(ReusePrefix, Most);
        if (GuidanceEvery is < 1 or > Most)
            throw RequestFault.GuidanceEvery(GuidanceEvery, Most);
    }

    private static int Parts(int count, int size) => (count + size - 1) / size;
}
