using System.Diagnostics;
using PyramidFlow.Torch;

namespace PyramidFlow.Benchmarks;

/// <summary>Wall-clock times of work on the CPU, seconds.</summary>
internal static class Timing
{
    /// <summary>One run; what it makes is freed.</summary>
    internal static double Once(Action work)
    {
        using var scope = new TensorScope();
        var start = Stopwatch.GetTimestamp();
        work();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>The shortest of some runs after one that does not count.</summary>
    internal static double Best(int runs, Action work)
    {
        Once(work);
        return Enumerable.Range(0, runs).Min(_ => Once(work));
    }

    /// <summary>The middle one, or the mean of the middle two.</summary>
    internal static double Median(IEnumerable<double> seconds)
    {
        var sorted = seconds.Order().ToArray();
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
