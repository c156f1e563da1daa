using PyramidFlow.Cli.Output;
using PyramidFlow.Server;

namespace PyramidFlow.Cli.Serving;

/// <summary>One run of <c>serve</c>.</summary>
internal static class ServeRun
{
    /// <summary>Serves until it is cancelled, then puts what is being made back into the queue.</summary>
    public static async Task<int> RunAsync(ServerOptions options, CliConsole console, CancellationToken cancel)
    {
        await using var app = VideoServer.Build(options);
        await app.StartAsync(cancel).ConfigureAwait(false);
        console.Result($"listening on {string.Join(", ", app.Urls)}");
        await Task.Delay(Timeout.Infinite, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await app.StopAsync(CancellationToken.None).ConfigureAwait(false);
        return ExitCode.Ok;
    }
}
