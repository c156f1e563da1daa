using System.Collections.Concurrent;
using System.Data.Common;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// A background service that repeats a turn of work until the process stops. A failed turn is reported to log,
/// readiness and metrics, and repeated after a growing pause. Only what no pause can repair (a store of a newer version, the loss
/// of a process that this one makes videos with) ends the loop and the process.
/// </summary>
/// <param name="part">Name of the loop in logs and health reports.</param>
/// <param name="health">Receives the outcome of every turn.</param>
/// <param name="log">Receives failures.</param>
internal abstract partial class BackgroundLoop(string part, BackgroundHealth health, ILogger log) : BackgroundService
{
    private static readonly TimeSpan First = TimeSpan.FromMilliseconds(500), Most = TimeSpan.FromSeconds(5);

    /// <summary>Receives the outcome of every turn.</summary>
    protected BackgroundHealth Health => health;

    /// <summary>Does the work of one turn and waits for the next.</summary>
    /// <param name="stoppingToken">Cancelled when the process stops.</param>
    protected abstract Task TurnAsync(CancellationToken stoppingToken);

    /// <summary>Reports that the turn has done its work; call it before a wait that may be long.</summary>
    protected void ReportSuccess() => health.ReportSuccess(part);

    protected sealed override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // A turn may do much work before its first await; the start of the process must not wait for it.
        await Task.Yield();
        var (pause, last) = (First, "");
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await TurnAsync(stoppingToken).ConfigureAwait(false);
                health.ReportSuccess(part);
                (pause, last) = (First, "");
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (ServiceException e) when (e.Code is ServiceFault.QueueNewerCode or ServiceFault.ProcessesBrokenCode)
            {
                health.ReportFailure(part, e.Message);
                LogEnded(log, part, e.Message);
                throw;
            }
            catch (Exception e)
            {
                health.ReportFailure(part, ReasonFor(e));
                // A repeated failure is logged in full once.
                if (IsForeseen(e) || last == e.Message)
                    LogFailed(log, part, pause.TotalSeconds, e.Message);
                else
                    LogUnforeseen(log, e, part, pause.TotalSeconds);
                last = e.Message;
                await Task.Delay(pause, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                pause = pause * 2 < Most ? pause * 2 : Most;
            }
        }
    }

    private static bool IsForeseen(Exception e) => e is DbException or IOException or UnauthorizedAccessException or TimeoutException or JobException or ServiceException;

    // Anybody can read the readiness report, so addresses and paths appear only in the log.
    private static string ReasonFor(Exception e) => e switch
    {
        DbException or TimeoutException => "the queue's database cannot be reached",
        IOException or UnauthorizedAccessException => "the data folder cannot be used",
        JobException => e.Message,
        ServiceException { Code: ServiceFault.KeysDamagedCode } => "the keys of this service cannot be read",
        _ => "a fault in this program, its log says more",
    };

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Part}: cannot go on, next try in {Seconds} s: {Reason}")]
    private static partial void LogFailed(ILogger log, string part, double seconds, string reason);

    [LoggerMessage(Level = LogLevel.Critical, Message = "{Part}: cannot go on, so this process stops: {Reason}")]
    private static partial void LogEnded(ILogger log, string part, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Part}: failed, next try in {Seconds} s")]
    private static partial void LogUnforeseen(ILogger log, Exception fault, string part, double seconds);
}

/// <summary>Health of the background loops of a process, as each loop reports it after every turn.</summary>
internal sealed class BackgroundHealth
{
    private readonly ConcurrentDictionary<string, PartHealth> parts = [];

    /// <summary>Current health of all loops, ordered by name.</summary>
    public IReadOnlyList<PartHealth> Parts => [.. parts.Values.OrderBy(part => part.Name, StringComparer.Ordinal)];

    /// <summary>The reason why this process cannot do its work; null when it can.</summary>
    public string? Failure => Reasons(part => part.IsVital);

    /// <summary>Failures that do not keep the process from its work; null for none.</summary>
    public string? Warning => Reasons(part => !part.IsVital);

    /// <summary>Reports a successful turn.</summary>
    public void ReportSuccess(string part) => parts[part] = new PartHealth(part, null, true);

    /// <summary>Reports a failed turn.</summary>
    /// <param name="part">Name of the loop.</param>
    /// <param name="reason">The reason.</param>
    /// <param name="isVital">Whether the process cannot do its work without the loop.</param>
    public void ReportFailure(string part, string reason, bool isVital = true) => parts[part] = new PartHealth(part, reason, isVital);

    private string? Reasons(Func<PartHealth, bool> which) =>
        Parts.Where(part => part.Reason is not null && which(part)).Select(part => $"{part.Name}: {part.Reason}").ToList() is { Count: > 0 } reasons ? string.Join("; ", reasons) : null;
}

/// <summary>Health of a loop.</summary>
/// <param name="Name">Name of the loop.</param>
/// <param name="Reason">The reason why its last turn failed; null after a successful turn.</param>
/// <param name="IsVital">Whether the process cannot do its work without the loop.</param>
internal sealed record PartHealth(string Name, string? Reason, bool IsVital);
