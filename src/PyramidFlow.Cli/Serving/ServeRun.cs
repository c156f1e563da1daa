using System.Data.Common;
using Microsoft.Extensions.Hosting;
using PyramidFlow.Cli.Output;
using PyramidFlow.Server;

namespace PyramidFlow.Cli.Serving;

/// <summary>A run of <c>serve</c> or <c>worker</c>: until it is cancelled; what is being made then goes back into the queue.</summary>
internal static class ServeRun
{
    /// <exception cref="UsageException">The address cannot be listened on, or needs a key.</exception>
    public static async Task<int> ServeAsync(ServerOptions options, CliConsole console, CancellationToken cancel)
    {
        try
        {
            await using var app = VideoServer.Build(options);
            return await RunAsync(app, () => $"listening on {string.Join(", ", app.Urls)}", console, cancel).ConfigureAwait(false);
        }
        catch (ArgumentException e) when (Faults.IsForUsers(e))
        {
            throw new UsageException(Faults.Sentence(e), e);
        }
    }

    public static async Task<int> WorkAsync(ServerOptions options, CliConsole console, CancellationToken cancel)
    {
        using var host = VideoWorkers.Build(options);
        return await RunAsync(host, () => "waiting for videos to make", console, cancel).ConfigureAwait(false);
    }

    private static async Task<int> RunAsync(IHost host, Func<string> ready, CliConsole console, CancellationToken cancel)
    {
        try
        {
            await host.StartAsync(cancel).ConfigureAwait(false);
        }
        catch (DbException e)
        {
            throw new CommandException($"the queue's database cannot be used: {e.Message}", e);
        }

        console.Result(ready());
        await Task.Delay(Timeout.Infinite, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await host.StopAsync(CancellationToken.None).ConfigureAwait(false);
        return ExitCode.Ok;
    }
}
