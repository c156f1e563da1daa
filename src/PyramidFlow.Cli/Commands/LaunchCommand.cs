using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using PyramidFlow.Cli.Terminal;

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
        var command = new ExampledCommand("launch",
            "Runs a command in several processes that train together; real torchrun, which sets the same variables, works too.",
            $"{About.Name} launch --nproc 2 -- train dit --config configs/sprites-dit.json --out runs/sprites") { count, arguments };
        command.SetAction((parsed, cancellationToken) => LaunchRun.RunAsync(parsed.GetValue(count)!.Value, parsed.GetRequiredValue(arguments), console, cancellationToken));
        return command;
    }
}

/// <summary>Starts the processes of a group and ends when they have ended; when one fails, the others are ended too.</summary>
internal static class LaunchRun
{
    public static async Task<int> RunAsync(int count, string[] command, CliConsole console, CancellationToken cancellationToken)
    {
        var port = FreePort();
        var processes = Enumerable.Range(0, count).Select(rank => Start(rank, count, port, command, console)).ToList();

        // Ctrl-C in a terminal reaches all processes by itself; a second signal would end them before they have saved.
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => processes.ForEach(Terminate));
        try
        {
            var running = processes.Select(EndOfAsync).ToList();
            while (running.Count > 0)
            {
                var ended = await Task.WhenAny(running).ConfigureAwait(false);
                running.Remove(ended);
                if (await ended.ConfigureAwait(false) is not ExitCode.Ok and var code)
                {
                    // The first process may still save its state after a stop that all agreed on.
                    if (code == ExitCode.Cancelled)
                        await Task.WhenAll(running).ConfigureAwait(false);
                    return code;
                }
            }

            return ExitCode.Ok;
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

    private static Process Start(int rank, int count, int port, string[] command, CliConsole console)
    {
        // Rank zero inherits the streams. The others forward only their error stream.
        var start = Self(command);
        (start.RedirectStandardOutput, start.RedirectStandardError) = (rank > 0, rank > 0);
        foreach (var (name, value) in new[] { ("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", count), ("MASTER_PORT", port) })
            start.Environment[name] = value.ToString(CultureInfo.InvariantCulture);
        start.Environment["MASTER_ADDR"] = "127.0.0.1";
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

    private static async Task<int> EndOfAsync(Process process)
    {
        await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        return process.ExitCode;
    }

    private static void Terminate(Process process)
    {
        using var kill = Process.Start("kill", ["-TERM", process.Id.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
