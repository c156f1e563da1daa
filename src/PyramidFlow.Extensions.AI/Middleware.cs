using System.Diagnostics;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;

namespace PyramidFlow.Extensions.AI;

/// <summary>Changes the options of each request.</summary>
/// <param name="inner">The generator.</param>
/// <param name="configure">Changes a copy.</param>
internal sealed class ConfiguringVideoGenerator(IVideoGenerator inner, Action<VideoGenerationOptions> configure) : DelegatingVideoGenerator(inner)
{
    /// <inheritdoc/>
    public override Task<VideoGenerationResponse> GenerateAsync(VideoGenerationRequest request, VideoGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        base.GenerateAsync(request, Changed(options), cancellationToken);

    /// <inheritdoc/>
    public override IAsyncEnumerable<VideoGenerationUpdate> GenerateStreamingAsync(VideoGenerationRequest request, VideoGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        base.GenerateStreamingAsync(request, Changed(options), cancellationToken);

    private VideoGenerationOptions Changed(VideoGenerationOptions? options)
    {
        var changed = options?.Clone() ?? new VideoGenerationOptions();
        configure(changed);
        return changed;
    }
}

/// <summary>Logs each request. Prompts are not logged.</summary>
/// <param name="inner">The generator.</param>
/// <param name="logger">Takes the logs.</param>
internal sealed partial class LoggingVideoGenerator(IVideoGenerator inner, ILogger logger) : DelegatingVideoGenerator(inner)
{
    /// <inheritdoc/>
    public override async Task<VideoGenerationResponse> GenerateAsync(VideoGenerationRequest request, VideoGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        var start = Stopwatch.GetTimestamp();
        LogBegun(logger);
        try
        {
            var response = await base.GenerateAsync(request, options, cancellationToken).ConfigureAwait(false);
            LogEnded(logger, Stopwatch.GetElapsedTime(start).TotalSeconds);
            return response;
        }
        catch (Exception e)
        {
            Failed(e, start);
            throw;
        }
    }

    /// <inheritdoc/>
    public override async IAsyncEnumerable<VideoGenerationUpdate> GenerateStreamingAsync(VideoGenerationRequest request, VideoGenerationOptions? options = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        var start = Stopwatch.GetTimestamp();
        LogBegun(logger);
        await using var updates = base.GenerateStreamingAsync(request, options, cancellationToken).GetAsyncEnumerator(cancellationToken);
        while (await NextAsync().ConfigureAwait(false))
            yield return updates.Current;
        LogEnded(logger, Stopwatch.GetElapsedTime(start).TotalSeconds);

        async ValueTask<bool> NextAsync()
        {
            try
            {
                return await updates.MoveNextAsync().ConfigureAwait(false);
            }
            catch (Exception e)
            {
                Failed(e, start);
                throw;
            }
        }
    }

    private void Failed(Exception e, long start)
    {
        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        if (e is OperationCanceledException)
            LogCancelled(logger, seconds);
        else
            LogFailed(logger, seconds, e.Message);
    }

    [LoggerMessage(EventId = 20, EventName = "VideoBegun", Level = LogLevel.Debug, Message = "A video is asked for")]
    private static partial void LogBegun(ILogger logger);

    [LoggerMessage(EventId = 21, EventName = "VideoEnded", Level = LogLevel.Information, Message = "The video is made after {Seconds:F1} s")]
    private static partial void LogEnded(ILogger logger, double seconds);

    [LoggerMessage(EventId = 22, EventName = "VideoCancelled", Level = LogLevel.Information, Message = "The video is cancelled after {Seconds:F1} s")]
    private static partial void LogCancelled(ILogger logger, double seconds);

    [LoggerMessage(EventId = 23, EventName = "VideoFailed", Level = LogLevel.Error, Message = "The video failed after {Seconds:F1} s: {Reason}")]
    private static partial void LogFailed(ILogger logger, double seconds, string reason);
}
