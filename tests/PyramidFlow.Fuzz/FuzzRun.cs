using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using PyramidFlow.Fuzz.Targets;

namespace PyramidFlow.Fuzz;

/// <summary>What came of a target.</summary>
/// <param name="Inputs">Inputs read.</param>
/// <param name="Accepted">Those that were fine.</param>
/// <param name="Shapes">Different outcomes seen; an input with a new one is kept and changed further.</param>
/// <param name="Slowest">Longest time of an input, in seconds.</param>
/// <param name="Faults">What broke the promise, with the file that holds the input.</param>
internal sealed record FuzzResult(long Inputs, long Accepted, int Shapes, double Slowest, IReadOnlyList<string> Faults);

/// <summary>Reads random inputs with one target. A fault is an exception that is not documented, more than two seconds, or more than 500 MB.</summary>
/// <param name="target">The reader.</param>
/// <param name="seed">Seed of the changes.</param>
/// <param name="folder">Where faulty inputs are written.</param>
internal sealed partial class FuzzRun(FuzzTarget target, int seed, string folder)
{
    private const double MostSeconds = 2;
    private const long MostBytes = 500L << 20;
    private const int MostKept = 2000, MostFaults = 10, Batch = 64;

    // An input that hangs for ever ends the program, with its bytes on the disk.
    private static readonly TimeSpan Hang = TimeSpan.FromSeconds(60);

    private readonly HashSet<string> shapes = [];
    private readonly Dictionary<string, string> faults = [];
    private readonly List<byte[]> kept = [], batch = [];
    private long inputs, accepted, started;
    private double slowest;
    private byte[] current = [];
    private long resting;

    /// <summary>Reads the seeds as they are and then changed ones, until the time or the number of inputs is over.</summary>
    public FuzzResult Run(TimeSpan time, long most)
    {
        using var watch = new Timer(_ => EndHang(), null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));
        var random = new Random(seed);
        var mutator = new Mutator(random);
        var seeds = Seeds();
        kept.AddRange(seeds);
        BeginBatch();
        foreach (var input in seeds)
            Try(input);
        var clock = Stopwatch.StartNew();
        while (inputs < most && clock.Elapsed < time && faults.Count < MostFaults)
            Try(mutator.Change(Base(), kept[random.Next(kept.Count)], target.Words));
        EndBatch();
        Volatile.Write(ref started, 0);
        return new FuzzResult(inputs, accepted, shapes.Count, slowest, [.. faults.Values]);

        // Half of the changes begin at a seed: what is many changes away from one is refused at once.
        byte[] Base() => random.Next(2) == 0 ? seeds[random.Next(seeds.Count)] : kept[random.Next(kept.Count)];
    }

    private List<byte[]> Seeds()
    {
        List<byte[]> seeds = [.. target.Seeds];
        var committed = Path.Combine(AppContext.BaseDirectory, "Seeds", target.Name);
        if (Directory.Exists(committed))
            seeds.AddRange(Directory.EnumerateFiles(committed).Order(StringComparer.Ordinal).Select(File.ReadAllBytes));
        return seeds;
    }

    private void Try(byte[] input)
    {
        inputs++;
        current = input;
        Volatile.Write(ref started, Stopwatch.GetTimestamp());
        var before = GC.GetTotalAllocatedBytes();
        var fault = Read(input);
        var seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        slowest = Math.Max(slowest, seconds);
        if (fault is null)
            accepted++;
        var shape = fault is null ? "accepted" : Shape(fault);
        if (shapes.Add(shape) && kept.Count < MostKept)
            kept.Add(input);
        if (fault is not null && !target.Allows(fault))
            Report(input, $"{fault.GetType().Name}: {fault.Message}", fault.ToString(), shape);
        // A busy machine is slow too: the input is read again before it is blamed.
        if (seconds > MostSeconds && Again(input) is > MostSeconds and var slow)
            Report(input, $"takes {slow:F1} s", "", "slow");
        if (GC.GetTotalAllocatedBytes() - before > MostBytes && PeakOf(input) is > MostBytes and var peak)
            Report(input, $"takes {peak >> 20} MB", "", "large");
        batch.Add(input);
        if (batch.Count == Batch)
            EndBatch();
    }

    // Memory outside the managed heap is in no count of allocations. Its peak costs a look at /proc, so that one look serves many inputs.
    private void EndBatch()
    {
        if (Peak() - resting > MostBytes)
        {
            foreach (var input in batch)
            {
                current = input;
                Volatile.Write(ref started, Stopwatch.GetTimestamp());
                if (PeakOf(input) is > MostBytes and var peak)
                    Report(input, $"takes {peak >> 20} MB", "", "large");
            }
        }

        BeginBatch();
    }

    private void BeginBatch()
    {
        batch.Clear();
        try
        {
            // 5 begins the peak anew.
            if (OperatingSystem.IsLinux())
                File.WriteAllText("/proc/self/clear_refs", "5");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Where that is not allowed only a peak above all earlier ones is seen.
        }

        resting = Peak();
    }

    private static long Peak()
    {
        using var self = Process.GetCurrentProcess();
        return self.PeakWorkingSet64;
    }

    private Exception? Read(byte[] input)
    {
        try
        {
            target.Read(input);
            return null;
        }
        catch (Exception e)
        {
            return e;
        }
    }

    private double Again(byte[] input)
    {
        var least = double.MaxValue;
        for (var i = 0; i < 2; i++)
        {
            started = Stopwatch.GetTimestamp();
            Read(input);
            least = Math.Min(least, Stopwatch.GetElapsedTime(started).TotalSeconds);
        }

        return least;
    }

    private long PeakOf(byte[] input)
    {
        GC.Collect();
        var (before, peak, isDone) = (Environment.WorkingSet, 0L, false);
        var sampler = new Thread(() =>
        {
            while (!Volatile.Read(ref isDone))
            {
                peak = Math.Max(peak, Environment.WorkingSet);
                Thread.Sleep(1);
            }
        });
        sampler.Start();
        Read(input);
        Volatile.Write(ref isDone, true);
        sampler.Join();
        return peak - before;
    }

    private void EndHang()
    {
        if (Volatile.Read(ref started) is var since and not 0 && Stopwatch.GetElapsedTime(since) > Hang)
        {
            Report(current, $"does not end within {Hang.TotalSeconds:F0} s", "", "hangs");
            Console.WriteLine($"{target.Name}: {faults.Values.Last()}");
            FuzzTargets.DeleteFolder();
            Environment.Exit(1);
        }
    }

    private void Report(byte[] input, string what, string all, string shape)
    {
        var key = all.Length == 0 ? shape : all.Split('\n').FirstOrDefault(line => line.Contains(" at PyramidFlow.", StringComparison.Ordinal) && !line.Contains("Fuzz", StringComparison.Ordinal)) ?? shape;
        if (faults.ContainsKey(key))
            return;
        Directory.CreateDirectory(folder);
        var file = Path.Combine(folder, $"{target.Name}-{faults.Count + 1}");
        File.WriteAllBytes(file, input);
        File.WriteAllText(file + ".txt", what + "\n" + all);
        var first = what.Split('\n')[0];
        faults[key] = $"{(first.Length > 200 ? first[..200] + "..." : first)} ({file})";
    }

    // Type and first words of the message, without quoted pieces of the input.
    private static string Shape(Exception e)
    {
        var text = new StringBuilder(e.GetType().Name);
        var message = Quoted().Replace(e.Message, "");
        foreach (var word in Words().EnumerateMatches(message))
        {
            if (text.Length > 80)
                break;
            text.Append(' ').Append(message.AsSpan(word.Index, word.Length));
        }

        return text.ToString();
    }

    [GeneratedRegex(@"\b[a-z]{2,14}\b", RegexOptions.CultureInvariant | RegexOptions.NonBacktracking)]
    private static partial Regex Words();

    [GeneratedRegex("'[^']*'|\"[^\"]*\"", RegexOptions.CultureInvariant | RegexOptions.NonBacktracking)]
    private static partial Regex Quoted();
}
