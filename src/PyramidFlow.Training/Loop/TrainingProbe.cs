using System.Diagnostics;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>Measures a few steps of a training on this machine, in a temporary folder: their time with all threads and with half of them, and the most memory.</summary>
/// <param name="progress">Reports each step; null reports nothing.</param>
internal sealed class TrainingProbe(IProgress<TrainingProgress>? progress) : IDisposable
{
    /// <summary>Steps that are not counted, because caches are filled and buffers grow.</summary>
    public const int WarmUp = 2;

    /// <summary>Steps that are counted at most, with each number of threads.</summary>
    public const int Most = 5;

    // No further step begins after this time, beside one of each number of threads.
    private static readonly TimeSpan Enough = TimeSpan.FromSeconds(60);

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("pyramidflow-probe-");

    /// <summary>Folder of a run, which ends with the probe.</summary>
    public string Folder => folder.FullName;

    /// <summary>What was measured; null before.</summary>
    public ProbedSteps? Result { get; private set; }

    /// <summary>Measures, from what is in memory when it begins.</summary>
    /// <param name="step">Takes a step.</param>
    /// <param name="device">Where it is computed.</param>
    /// <param name="cancellationToken">Stops after the current step.</param>
    public void Measure(Action step, Device device, CancellationToken cancellationToken)
    {
        var (begin, taken) = (Stopwatch.GetTimestamp(), 0);
        var all = TorchRuntime.Threads;
        // The operators of a small network are too short to be divided, and wait for each other where the machine has other work.
        var hasFewer = device.Type == DeviceType.Cpu && all > 1;
        var expected = WarmUp + (Most * (hasFewer ? 2 : 1));
        for (var i = 0; i < WarmUp && (i == 0 || Stopwatch.GetElapsedTime(begin) < Enough); i++)
            Take();
        var warmUp = taken;
        List<ProbedThreads> times = [Timed(all)];
        if (hasFewer)
        {
            TorchRuntime.Threads = all / 2;
            try
            {
                times.Add(Timed(all / 2));
            }
            finally
            {
                TorchRuntime.Threads = all;
            }
        }

        Result = new ProbedSteps(warmUp, times, ProcessPeak(), TorchRuntime.PeakMemory(device));

        ProbedThreads Timed(int threads)
        {
            var (start, count) = (Stopwatch.GetTimestamp(), 0);
            do
            {
                Take();
                count++;
            }
            while (count < Most && Stopwatch.GetElapsedTime(start) < Enough);
            TorchRuntime.Synchronize(device);
            return new ProbedThreads(threads, count, Stopwatch.GetElapsedTime(start).TotalSeconds / count);
        }

        void Take()
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new TrainingProgress(++taken, expected, 0, 0, "measuring steps"));
            step();
        }
    }

    /// <summary>Begins to measure the most memory of the process anew.</summary>
    public static void ResetPeaks()
    {
        TorchRuntime.ResetPeak();
        try
        {
            // The highest resident size since here.
            File.WriteAllText("/proc/self/clear_refs", "5");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The peak is that of the whole process then, of which a plan is a small part.
        }
    }

    /// <inheritdoc/>
    public void Dispose() => folder.Delete(recursive: true);

    private static long ProcessPeak()
    {
        using var process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }
}

/// <summary>Measured steps of a training.</summary>
/// <param name="WarmUp">Steps before those that were timed.</param>
/// <param name="Times">Their time with all threads of the run, and with half of them where that was measured.</param>
/// <param name="ProcessBytes">Most memory of the process so far, mapped pages that it has touched included.</param>
/// <param name="TensorBytes">Most memory of tensors on the device; 0 where libtorch does not tell.</param>
internal sealed record ProbedSteps(int WarmUp, IReadOnlyList<ProbedThreads> Times, long ProcessBytes, long TensorBytes)
{
    // A smaller difference may be chance.
    private const double Clear = 0.95;

    /// <summary>Seconds of a step as the run takes them.</summary>
    public double SecondsPerStep => Times[0].SecondsPerStep;

    /// <summary>The number of threads that was faster than all of them; null where none was.</summary>
    public ProbedThreads? Faster => Times.Skip(1).FirstOrDefault(fewer => fewer.SecondsPerStep < Clear * SecondsPerStep);
}

/// <summary>Steps with a number of threads.</summary>
/// <param name="Threads">Threads of an operator.</param>
/// <param name="Steps">Steps that were timed.</param>
/// <param name="SecondsPerStep">Their mean time.</param>
internal sealed record ProbedThreads(int Threads, int Steps, double SecondsPerStep);
