using System.Globalization;
using System.IO.Pipes;
using System.Runtime.InteropServices;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Cli.Terminal;

/// <summary>A process as one of several: it meets the others, and ends when the <c>launch</c> that started it is gone.</summary>
internal static partial class LaunchedProcess
{
    /// <summary>Variable with the pipe that closes when the launcher ends.</summary>
    internal const string LauncherVariable = "PYRAMIDFLOW_LAUNCHER";

    /// <summary>Variable with the longest wait for another process, in seconds.</summary>
    internal const string LimitVariable = "PYRAMIDFLOW_TIME_LIMIT";

    private static readonly TimeSpan TimeToSave = TimeSpan.FromSeconds(20);

    /// <summary>Meets the other processes that launch, torchrun, srun or mpirun started.</summary>
    /// <param name="line">Shows who is missing.</param>
    /// <param name="device">Device that tensors are on: NCCL moves those of GPUs where the build has it.</param>
    /// <param name="cancellationToken">Stops the waiting.</param>
    /// <returns>Null for a single process.</returns>
    /// <exception cref="ProcessGroupException">The processes cannot meet.</exception>
    public static async Task<ProcessGroup?> JoinAsync(ProgressLine line, string device, CancellationToken cancellationToken)
    {
        if (Rendezvous.FromEnvironment(Environment.GetEnvironmentVariable) is not { } rendezvous)
            return null;
        var options = new GroupOptions { Waiting = new WaitingLine(line), UseNccl = device.StartsWith("cuda", StringComparison.Ordinal) && ProcessGroup.HasNccl };
        if (Environment.GetEnvironmentVariable(LimitVariable) is { Length: > 0 } text)
            options = options with { Limit = LimitOf(text) };
        var group = await Task.Run(() => ProcessGroup.Join(rendezvous, options, cancellationToken), CancellationToken.None).ConfigureAwait(false);
        line.Clear();
        return group;
    }

    /// <summary>Ends this process when its launcher is gone, even one that was killed: first with a signal, so that it can save, then by force.</summary>
    public static void WatchLauncher()
    {
        if (Environment.GetEnvironmentVariable(LauncherVariable) is not { Length: > 0 } pipe)
            return;

        // Programs that this one starts have no launcher.
        Environment.SetEnvironmentVariable(LauncherVariable, null);
        new Thread(() =>
        {
            using var launcher = new AnonymousPipeClientStream(PipeDirection.In, pipe);
            while (launcher.ReadByte() >= 0)
            {
            }

            DeleteStore();
            _ = kill(Environment.ProcessId, 15);
            Thread.Sleep(TimeToSave);
            _ = kill(Environment.ProcessId, 9);
        })
        { IsBackground = true, Name = "launcher" }.Start();
    }

    // A launcher that was killed left the file of the store and its folder behind.
    private static void DeleteStore()
    {
        if (Environment.GetEnvironmentVariable(Rendezvous.StoreVariable) is not { Length: > 0 } file || Path.GetDirectoryName(file) is not { } folder)
            return;
        try
        {
            File.Delete(file);
            Directory.Delete(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Another process of the group was faster.
        }
    }

    private static TimeSpan LimitOf(string text) =>
        double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var seconds) && seconds is >= 1 and <= 86400 ? TimeSpan.FromSeconds(seconds)
        : throw CommandFault.TimeLimitInvalid(LimitVariable, text);

    [LibraryImport("libc")]
    private static partial int kill(int process, int signal);

    private sealed class WaitingLine(ProgressLine line) : IProgress<GroupWaiting>
    {
        // Processes never start at the same moment.
        private static readonly TimeSpan WorthSaying = TimeSpan.FromSeconds(2);

        public void Report(GroupWaiting value)
        {
            if (value.Waited < WorthSaying)
                return;
            var missing = string.Join(", ", value.Missing.Take(8));
            line.Update(string.Create(CultureInfo.InvariantCulture, $"waiting for process{(value.Missing.Count == 1 ? "" : "es")} {missing} of {value.WorldSize}"),
                "", value.Waited / value.Limit, value.Limit - value.Waited);
        }
    }
}
