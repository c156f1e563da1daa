using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.IO.Pipes;
using System.Runtime.InteropServices;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>launch</c>: one command in several processes that work together.</summary>
internal static class LaunchCommand
{
    public static Command Create(CliConsole console)
    {
        var count = CliOptions.Whole("--nproc", "N", "processes on this machine", 1, 1024);
        count.Required = true;
        var arguments = new Argument<string[]>("command")
        {
            Description = "what each of them runs, after --",
            Arity = ArgumentArity.OneOrMore,
        };
        var limit = CliOptions.Whole("--time-limit", "S", "longest time a process waits for another, in seconds [default: 600]", 1, 86400);
        var command = new ExampledCommand("launch",
            "Runs a command in several processes that work together; torchrun, srun and mpirun work too (docs/distributed.md).",
            $"{About.Name} launch --nproc 2 -- train dit --config configs/sprites-dit.json --out runs/sprites") { count, limit, arguments };
        command.SetAction((parsed, _) => LaunchRun.RunAsync(
            new LaunchOptions(parsed.GetValue(count)!.Value, parsed.GetRequiredValue(arguments), parsed.GetValue(limit)), console));
        return command;
    }
}

/// <summary>
/// Starts the processes of a group and ends when they have ended. When one fails, the others have a moment to say why they end, and
/// are ended then. They see when this process is gone, however it ends.
/// </summary>
internal sealed class LaunchRun : IDisposable
{
    private static readonly TimeSpan TimeToSpeak = TimeSpan.FromSeconds(15), TimeToSave = TimeSpan.FromSeconds(15);

    // The exit code of a process that a signal ended is this and the signal.
    private const int Signalled = 128;

    private readonly LaunchOptions options;
    private readonly CliConsole console;

    // Only this user can enter the folder, so no stranger reaches the store in it.
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("pyramidflow-");
    private readonly AnonymousPipeServerStream alive = new(PipeDirection.Out, HandleInheritability.Inheritable);

    private LaunchRun(LaunchOptions options, CliConsole console) => (this.options, this.console) = (options, console);

    public static async Task<int> RunAsync(LaunchOptions options, CliConsole console)
    {
        using var launch = new LaunchRun(options, console);
        return await launch.RunAsync().ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        alive.Dispose();
        folder.Delete(recursive: true);
    }

    private async Task<int> RunAsync()
    {
        var processes = Enumerable.Range(0, options.Count).Select(Start).ToList();
        alive.DisposeLocalCopyOfClientHandle();

        // Ctrl-C in a terminal reaches all processes by itself; a second signal would end them before they have saved.
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => processes.ForEach(Terminate));
        try
        {
            var end = ExitCode.Ok;
            var running = processes.Select((process, rank) => EndOfAsync(process, rank)).ToList();
            while (running.Count > 0)
            {
                var ended = await Task.WhenAny(running).ConfigureAwait(false);
                running.Remove(ended);
                var (rank, code) = await ended.ConfigureAwait(false);
                if (code == ExitCode.LeftOut)
                {
                    end = code;
                }
                else if (code != ExitCode.Ok)
                {
                    // What a signal ended could say nothing.
                    if (code > Signalled && code != ExitCode.Cancelled)
                        console.Fail(string.Create(CultureInfo.InvariantCulture, $"process {rank} was killed by signal {code - Signalled}: the others end too"));
                    // The first process may still save its state after a stop that all agreed on.
                    if (code != ExitCode.Cancelled)
                    {
                        await EndAsync(processes, running).ConfigureAwait(false);
                        return code;
                    }

                    // Where one process failed, the others were stopped with it.
                    var others = await Task.WhenAll(running).ConfigureAwait(false);
                    return others.Select(other => other.Code).FirstOrDefault(other => other is not ExitCode.Ok and not ExitCode.Cancelled, code);
                }
            }

            return end;
        }
        finally
        {
            foreach (var process in processes)
            {
                if (!process.HasExited)
                    process.Kill();
                process.Dispose();
            }
        }
    }

    private static async Task EndAsync(List<Process> processes, List<Task<(int Rank, int Code)>> running)
    {
        foreach (var patience in new[] { TimeToSpeak, TimeToSave })
        {
            if (await Task.WhenAny(Task.WhenAll(running), Task.Delay(patience)).ConfigureAwait(false) is Task<(int, int)[]>)
                return;
            foreach (var process in processes.Where(process => !process.HasExited))
                Terminate(process);
        }
    }

    private Process Start(int rank)
    {
        // Rank zero inherits the streams. The others forward only their error stream.
        var start = Self(options.Command);
        (start.RedirectStandardOutput, start.RedirectStandardError) = (rank > 0, rank > 0);
        foreach (var (name, value) in new[] { ("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", options.Count), ("LOCAL_WORLD_SIZE", options.Count) })
            start.Environment[name] = value.ToString(CultureInfo.InvariantCulture);
        start.Environment[Rendezvous.StoreVariable] = Path.Combine(folder.FullName, "store");
        start.Environment[LaunchedProcess.LauncherVariable] = alive.GetClientHandleAsString();
        if (options.LimitSeconds is { } limit)
            start.Environment[LaunchedProcess.LimitVariable] = limit.ToString(CultureInfo.InvariantCulture);
        var process = Process.Start(start)!;
        if (rank > 0)
        {
            process.ErrorDataReceived += (_, line) => Forward(rank, line.Data, console);
            process.OutputDataReceived += (_, _) => { };
            process.BeginErrorReadLine();
            process.BeginOutputReadLine();
        }

        return process;
    }

    private static void Forward(int rank, string? line, CliConsole console)
    {
        if (!string.IsNullOrWhiteSpace(line))
            console.Note($"process {rank}: {line}");
    }

    // This program: started by its own name, or by dotnet.
    private static ProcessStartInfo Self(string[] command)
    {
        var assembly = typeof(LaunchRun).Assembly;
        var own = Environment.ProcessPath is { } path && Path.GetFileNameWithoutExtension(path) == assembly.GetName().Name ? path : null;
        return own is not null ? new ProcessStartInfo(own, command) : new ProcessStartInfo("dotnet", [assembly.Location, .. command]);
    }

    private static async Task<(int Rank, int Code)> EndOfAsync(Process process, int rank)
    {
        await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        return (rank, process.ExitCode);
    }

    private static void Terminate(Process process)
    {
        using var kill = Process.Start("kill", ["-TERM", process.Id.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }
}

/// <summary>Processes that <c>launch</c> starts.</summary>
/// <param name="Count">Number of processes.</param>
/// <param name="Command">Arguments of each of them.</param>
/// <param name="LimitSeconds">Longest wait of a process for another; null is the default.</param>
internal sealed record LaunchOptions(int Count, string[] Command, int? LimitSeconds);
