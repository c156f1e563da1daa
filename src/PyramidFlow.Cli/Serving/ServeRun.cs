using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using PyramidFlow.Cli.Output;
using PyramidFlow.Server;

namespace PyramidFlow.Cli.Serving;

/// <summary>A run of <c>serve</c> or <c>worker</c>: until it is cancelled; what is being made then goes back into the queue.</summary>
internal static class ServeRun
{
    // Figures may be sent on the way out to a place that does not answer.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <exception cref="UsageException">The address cannot be listened on, or needs a key.</exception>
    /// <exception cref="CommandException">The port is in use, or the queue cannot be used.</exception>
    public static Task<int> ServeAsync(ServerOptions options, CliConsole console, CancellationToken cancel)
    {
        var app = Build(() => VideoServer.Build(options), options);
        return RunAsync(app, options, () => $"listening on {string.Join(", ", app.Urls)}", console, cancel);
    }

    /// <exception cref="CommandException">The queue cannot be used.</exception>
    public static Task<int> WorkAsync(ServerOptions options, CliConsole console, CancellationToken cancel) =>
        RunAsync(Build(() => VideoWorkers.Build(options), options), options, () => "waiting for videos to make", console, cancel);

    private static T Build<T>(Func<T> build, ServerOptions options)
    {
        try
        {
            return build();
        }
        catch (ArgumentException e) when (UserFault.Is(e))
        {
            throw new UsageException(Faults.Sentence(e), e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandException($"the data folder {Path.GetFullPath(options.DataFolder)} cannot be used ({Faults.Sentence(e).TrimEnd('.')}): choose another with --data", e);
        }
    }

    private static async Task<int> RunAsync(IHost host, ServerOptions options, Func<string> ready, CliConsole console, CancellationToken cancel)
    {
        try
        {
            await StartAsync(host, options, cancel).ConfigureAwait(false);
            console.Result(ready());
            // It stops by itself when something in the background can never go on.
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancel, host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping);
            await Task.Delay(Timeout.Infinite, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await host.StopAsync(CancellationToken.None).ConfigureAwait(false);
            if (host.Services.GetServices<IHostedService>().OfType<BackgroundService>().Select(service => service.ExecuteTask?.Exception?.InnerException).OfType<Exception>().FirstOrDefault() is { } fault)
                throw new CommandException(Faults.Sentence(fault), fault);
            return ExitCode.Ok;
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            // Told to stop while it waited for the database.
            await StopHalfStartedAsync(host).ConfigureAwait(false);
            return ExitCode.Ok;
        }
        finally
        {
            await Task.Run(host.Dispose, CancellationToken.None).WaitAsync(Patience, CancellationToken.None)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static async Task StartAsync(IHost host, ServerOptions options, CancellationToken cancel)
    {
        try
        {
            await host.StartAsync(cancel).ConfigureAwait(false);
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            await StopHalfStartedAsync(host).ConfigureAwait(false);
            throw InWords(e, options);
        }
    }

    // The worker may have begun before the port turned out to be taken. What never began cannot be stopped, and says so.
    private static async Task StopHalfStartedAsync(IHost host) =>
        await host.StopAsync(CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    private static Exception InWords(Exception e, ServerOptions options) => (e, e.InnerException) switch
    {
        (AddressInUseException, _) or (_, AddressInUseException) or (SocketException { SocketErrorCode: SocketError.AddressAlreadyInUse }, _) =>
            new CommandException(FormattableString.Invariant($"port {options.Port} of {options.Host} is in use by another program: stop that, or choose another port with --port"), e),
        (SocketException { SocketErrorCode: SocketError.AccessDenied }, _) =>
            new CommandException(FormattableString.Invariant($"port {options.Port} may not be opened by this user: choose one from 1024 on with --port"), e),
        (SocketException { SocketErrorCode: SocketError.AddressNotAvailable or SocketError.AddressFamilyNotSupported }, _) =>
            new UsageException($"{options.Host} is no address of this machine: choose another with --host", e),
        _ => e,
    };
}
