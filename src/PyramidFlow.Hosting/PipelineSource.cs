using System.Diagnostics;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using PyramidFlow.Generation;

namespace PyramidFlow.Hosting;

/// <summary>The pipeline of a host, which is loaded once and disposed with the host.</summary>
public interface IPipelineSource
{
    /// <summary>The pipeline; waits until it is loaded. A load that failed is tried again by the next call.</summary>
    /// <param name="cancellationToken">Ends the wait; the load goes on.</param>
    /// <exception cref="Torch.PyramidFlowException">It cannot be loaded.</exception>
    Task<VideoPipeline> GetAsync(CancellationToken cancellationToken = default);
}

/// <summary>Loads the pipeline of a host beside its start, or when it is asked for.</summary>
internal sealed partial class PipelineSource(IOptions<PyramidFlowOptions> options, ILogger<VideoPipeline> logger) : IPipelineSource, IHostedService, IAsyncDisposable, IDisposable
{
    private static readonly TimeSpan RetryPause = TimeSpan.FromSeconds(30);
    private readonly CancellationTokenSource closing = new();
    private readonly Lock gate = new();
    private Task<VideoPipeline>? loading;
    private long begun;

    // The container disposes it once for each service that it gives it as.
    private int disposed;

    /// <summary>The load that was begun last; null before the first.</summary>
    internal Task<VideoPipeline>? Loading
    {
        get
        {
            lock (gate)
                return loading;
        }
    }

    /// <inheritdoc/>
    public Task<VideoPipeline> GetAsync(CancellationToken cancellationToken = default) => Begin().WaitAsync(cancellationToken);

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        if (options.Value.LoadAtStart)
            _ = Begin();
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => disposed == 0 ? closing.CancelAsync() : Task.CompletedTask;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref disposed, 1) != 0)
            return;
        await closing.CancelAsync().ConfigureAwait(false);
        if (Loading is { } last)
        {
            await ((Task)last).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (last.IsCompletedSuccessfully)
                await last.Result.DisposeAsync().ConfigureAwait(false);
        }

        closing.Dispose();
    }

    /// <inheritdoc/>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    /// <summary>Begins a load that failed anew, half a minute after its last begin at the earliest.</summary>
    internal void Retry()
    {
        lock (gate)
        {
            if (!closing.IsCancellationRequested && Stopwatch.GetElapsedTime(begun) > RetryPause)
                _ = Begin();
        }
    }

    private Task<VideoPipeline> Begin()
    {
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
            if (loading is null or { IsFaulted: true } or { IsCanceled: true })
                (begun, loading) = (Stopwatch.GetTimestamp(), LoadAsync());
            return loading;
        }
    }

    private async Task<VideoPipeline> LoadAsync()
    {
        var model = options.Value.Model;
        var start = Stopwatch.GetTimestamp();
        LogLoading(logger, model);
        try
        {
            var pipeline = await VideoPipeline.LoadAsync(model, options.Value.ToPipelineOptions() with { Logger = logger }, cancellationToken: closing.Token).ConfigureAwait(false);
            LogLoaded(logger, model, Stopwatch.GetElapsedTime(start).TotalSeconds);
            return pipeline;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            LogFailed(logger, model, e.Message);
            throw;
        }
    }

    // Event 1 of this category is the warning of a run (VideoPipeline).
    [LoggerMessage(EventId = 10, EventName = "ModelLoading", Level = LogLevel.Information, Message = "Loading the model {Model}")]
    private static partial void LogLoading(ILogger logger, string model);

    [LoggerMessage(EventId = 11, EventName = "ModelLoaded", Level = LogLevel.Information, Message = "The model {Model} is loaded after {Seconds:F1} s")]
    private static partial void LogLoaded(ILogger logger, string model, double seconds);

    [LoggerMessage(EventId = 12, EventName = "ModelFailed", Level = LogLevel.Error, Message = "The model {Model} cannot be loaded: {Reason}")]
    private static partial void LogFailed(ILogger logger, string model, string reason);
}
