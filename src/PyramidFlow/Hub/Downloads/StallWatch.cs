using System.Globalization;

namespace PyramidFlow.Hub.Downloads;

/// <summary>Runs network calls; one that brings nothing for too long, or is dropped, may be tried again.</summary>
internal sealed class StallWatch : IDisposable
{
    private readonly HubOptions options;
    private readonly string host;
    private readonly CancellationToken cancel;
    private readonly CancellationTokenSource source;
    private readonly ITimer timer;

    /// <summary>Begins to watch.</summary>
    /// <param name="options">How long it may take.</param>
    /// <param name="host">Whom to name in an error.</param>
    /// <param name="cancel">The user's own wish to stop.</param>
    internal StallWatch(HubOptions options, string host, CancellationToken cancel)
    {
        (this.options, this.host, this.cancel) = (options, host, cancel);
        source = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        timer = options.Time.CreateTimer(_ => source.Cancel(), null, options.Stall, Timeout.InfiniteTimeSpan);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        timer.Dispose();
        source.Dispose();
    }

    /// <summary>One network call.</summary>
    /// <exception cref="TransientException">The connection failed or stood still.</exception>
    internal async Task<T> GuardAsync<T>(Func<CancellationToken, Task<T>> call)
    {
        try
        {
            return await call(source.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new TransientException(string.Create(CultureInfo.InvariantCulture, $"{host} sent nothing for {options.Stall.TotalSeconds:F0} s"), inner: e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException and not HubException)
        {
            cancel.ThrowIfCancellationRequested();
            throw new TransientException($"the connection to {host} failed ({(e.InnerException ?? e).Message.TrimEnd('.')})", inner: e);
        }
    }

    /// <summary>Reads a body to its end; every piece that comes winds the watch up again.</summary>
    /// <param name="response">What is read.</param>
    /// <param name="take">Takes a piece, in order; what it throws goes on to the caller.</param>
    internal async Task CopyAsync(HttpResponseMessage response, Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> take)
    {
        var buffer = new byte[1 << 17];
        using var body = await GuardAsync(response.Content.ReadAsStreamAsync).ConfigureAwait(false);
        while (await GuardAsync(stop => body.ReadAsync(buffer, stop).AsTask()).ConfigureAwait(false) is var count and > 0)
        {
            timer.Change(options.Stall, Timeout.InfiniteTimeSpan);
            await take(buffer.AsMemory(0, count), cancel).ConfigureAwait(false);
        }
    }
}
