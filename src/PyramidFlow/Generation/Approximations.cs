using PyramidFlow.Scheduling;
using static System.FormattableString;

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
    /// For how many neighbouring steps of a stage keys and values of text and history are computed once, at the mean of their
    /// timesteps; 1 is exact. Only units after the first of models with temporal causal attention have such a prefix.
    /// </summary>
    public int ReusePrefix { get; init; } = 1;

    /// <summary>
    /// Each stage computes guidance in its first step and then in every step of this number; 1 is exact. The steps between run the
    /// prompt only and add what guidance added last.
    /// </summary>
    public int GuidanceEvery { get; init; } = 1;

    /// <summary>How the flow of a stage is followed; Euler is what the released system does.</summary>
    public FlowSolver Solver { get; init; }

    /// <summary>What was asked for; exact where nothing was.</summary>
    public static Approximations Of(int? reusePrefix, int? guidanceEvery, FlowSolver? solver) => new()
    {
        ReusePrefix = reusePrefix ?? 1,
        GuidanceEvery = guidanceEvery ?? 1,
        Solver = solver ?? FlowSolver.Euler,
    };

    /// <summary>Whether a step of a guided unit computes guidance.</summary>
    /// <param name="step">Its number in the stage, from 0.</param>
    internal bool IsGuided(int step) => step % GuidanceEvery == 0;

    /// <summary>How many steps of a guided unit's stage compute guidance.</summary>
    internal int GuidedSteps(int steps) => Parts(steps, GuidanceEvery);

    /// <summary>How many timesteps a prefix is computed for.</summary>
    internal int Prefixes(int steps) => Parts(steps, ReusePrefix);

    /// <summary>Fails on what is impossible.</summary>
    /// <exception cref="ArgumentException">A value is impossible; says what would be possible.</exception>
    internal void Check()
    {
        if (ReusePrefix is < 1 or > Most)
            throw new ArgumentException(Invariant($"a prefix cannot be reused for {ReusePrefix} steps: use 1 to {Most}, such as 2, or 1 for exact results"));
        if (GuidanceEvery is < 1 or > Most)
            throw new ArgumentException(Invariant($"guidance cannot come every {GuidanceEvery} steps: use 1 to {Most}, such as 2, or 1 for exact results"));
        if (!Enum.IsDefined(Solver))
            throw new ArgumentException(Invariant($"there is no solver {(int)Solver}: use {FlowSolver.Euler} or {FlowSolver.SecondOrder}"));
    }

    private static int Parts(int steps, int size) => (steps + size - 1) / size;
}
