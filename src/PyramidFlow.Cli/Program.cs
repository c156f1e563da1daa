using System.Runtime.InteropServices;
using PyramidFlow.Cli.Terminal;

namespace PyramidFlow.Cli;

/// <summary>The process: one command line, which signals stop.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        using var signals = new CancelOnSignal();
        LaunchedProcess.WatchLauncher();
        return await CommandLine.RunAsync(arguments, CliConsole.OfProcess(), signals.Token).ConfigureAwait(false);
    }
}

/// <summary>A token that Ctrl-C or SIGTERM cancels; the second signal ends the process at once.</summary>
internal sealed class CancelOnSignal : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly PosixSignalRegistration[] registrations;

    public CancelOnSignal() => registrations =
    [
        PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle),
        PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle),
    ];

    public CancellationToken Token => source.Token;

    public void Dispose()
    {
        foreach (var registration in registrations)
            registration.Dispose();
        source.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        context.Cancel = !source.IsCancellationRequested;
        source.Cancel();
    }
}
