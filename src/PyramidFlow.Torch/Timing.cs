using System.Diagnostics;

namespace PyramidFlow.Torch;

/// <summary>Wall-clock times of work on one device, seconds.</summary>
internal static class Timing
{
    /// <summary>One run, until the device is done; what it makes is freed.</summary>
    internal static double Once(Device device, Action work)
    {
        using var scope = new TensorScope();
        TorchRuntime.Synchronize(device);
        var start = Stopwatch.GetTimestamp();
        work();
        TorchRuntime.Synchronize(device);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>Several runs one after the other.</summary>
    internal static List<double> Repeated(Device device, int runs, Action work, CancellationToken cancellationToken)
    {
        var seconds = new List<double>();
        for (var run = 0; run < runs; run++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            seconds.Add(Once(device, work));
        }

        return seconds;
    }

    /// <summary>The shortest of some runs after one that does not count.</summary>
    internal static double Best(Device device, int runs, Action work)
    {
        Once(device, work);
        return Enumerable.Range(0, runs).Min(_ => Once(device, work));
    }

    /// <summary>The middle one, or the mean of the middle two.</summary>
    internal static double Median(IEnumerable<double> seconds)
    {
        var sorted = seconds.Order().ToArray();
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
