using System.Diagnostics;

namespace PyramidFlow.Training.Loop;

/// <summary>Gathers steps until they are reported: means of what they gave, and the time they took without what lies between them.</summary>
internal sealed class StepWindow
{
    private readonly List<StepResult> steps = [];
    private TimeSpan time;

    /// <summary>Steps gathered.</summary>
    public int Count => steps.Count;

    /// <summary>Mean time of a step.</summary>
    public double SecondsPerStep => time.TotalSeconds / Math.Max(1, Count);

    /// <summary>Mean losses.</summary>
    public BatchLosses Losses => BatchLosses.Mean([.. steps.Select(step => step.Losses)]);

    /// <summary>Tokens a second.</summary>
    public double TokensPerSecond => Losses.Tokens / Math.Max(1e-9, time.TotalSeconds);

    /// <summary>Mean gradient norm of a part.</summary>
    public double NormOf(int part) => steps.Average(step => step.Norms[part]);

    /// <summary>Takes a step and adds it.</summary>
    public StepResult Take(Func<StepResult> step)
    {
        var begin = Stopwatch.GetTimestamp();
        var result = step();
        time += Stopwatch.GetElapsedTime(begin);
        steps.Add(result);
        return result;
    }

    /// <summary>Begins anew.</summary>
    public void Clear()
    {
        steps.Clear();
        time = TimeSpan.Zero;
    }
}
