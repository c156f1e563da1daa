using System.Collections.Concurrent;
using System.Data.Common;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Work that is done turn after turn until the process stops. A turn that fails is told (log, readiness, figures) and
/// tried again after a pause that grows; nothing but a store of a newer version, which no pause mends, ends the loop and
/// the process with it.
/// </summary>
/// <param name="part">What it is called where its state is shown.</param>
/// <param name="health">Told of every turn.</param>
/// <param name="log">Takes failures.</param>
internal abstract partial class BackgroundLoop(string part, BackgroundHealth health, ILogger log) : BackgroundService
{
    private static readonly TimeSpan First = TimeSpan.FromMilliseconds(500), Most = TimeSpan.FromSeconds(5);

    /// <summary>Told of every turn.</summary>
    protected BackgroundHealth Health => health;

    /// <summary>Does the work of one turn and waits for the next.</summary>
    /// <param name="stop">Cancelled when the process stops.</param>
    protected abstract Task TurnAsync(CancellationToken stop);

    /// <summary>Says that the turn has done its work; before a wait that may be long.</summary>
    protected void Works() => health.Works(part);

    protected sealed override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // A turn may do much before its first wait, and the start of the process is not to wait for it.
        await Task.Yield();
        var (pause, last) = (First, "");
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await TurnAsync(stoppingToken).ConfigureAwait(false);
                health.Works(part);
                (pause, last) = (First, "");
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (NewerStoreException e)
            {
                health.Fails(part, e.Message);
                LogEnded(log, part, e.Message);
                throw;
            }
            catch (Exception e)
            {
                health.Fails(part, ReasonFor(e));
                // What repeats itself is told in full once.
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

    private static bool IsForeseen(Exception e) => e is DbException or IOException or UnauthorizedAccessException or TimeoutException or JobException or KeysException;

    // Readiness can be asked by anybody: addresses and paths are for the log.
    private static string ReasonFor(Exception e) => e switch
    {
        DbException or TimeoutException => "the queue's database cannot be reached",
        IOException or UnauthorizedAccessException => "the data folder cannot be used",
        JobException => e.Message,
        KeysException => "the keys of this service cannot be read",
        _ => "a fault in this program, its log says more",
    };

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Part}: cannot go on, next try in {Seconds} s: {Reason}")]
    private static partial void LogFailed(ILogger log, string part, double seconds, string reason);

    [LoggerMessage(Level = LogLevel.Critical, Message = "{Part}: cannot go on, so this process stops: {Reason}")]
    private static partial void LogEnded(ILogger log, string part, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Part}: failed, next try in {Seconds} s")]
    private static partial void LogUnforeseen(ILogger log, Exception fault, string part, double seconds);
}

/// <summary>What the loops in the background of one process are about: each says after every turn whether it could do its work.</summary>
internal sealed class BackgroundHealth
{
    private readonly ConcurrentDictionary<string, PartHealth> parts = [];

    /// <summary>All loops as they are now, by name.</summary>
    public IReadOnlyList<PartHealth> Parts => [.. parts.Values.OrderBy(part => part.Name, StringComparer.Ordinal)];

    /// <summary>Why this process cannot do its work just now; null when it can.</summary>
    public string? Trouble => Reasons(part => part.IsVital);

    /// <summary>What fails beside it, though the process does its work; null when nothing does.</summary>
    public string? Nuisance => Reasons(part => !part.IsVital);

    /// <summary>The last turn of a loop did its work.</summary>
    public void Works(string part) => parts[part] = new PartHealth(part, null, true);

    /// <summary>The last turn of a loop failed.</summary>
    /// <param name="part">Its name.</param>
    /// <param name="reason">Why.</param>
    /// <param name="isVital">Whether the process cannot do its work without it.</param>
    public void Fails(string part, string reason, bool isVital = true) => parts[part] = new PartHealth(part, reason, isVital);

    private string? Reasons(Func<PartHealth, bool> which) =>
        Parts.Where(part => part.Reason is not null && which(part)).Select(part => $"{part.Name}: {part.Reason}").ToList() is { Count: > 0 } reasons ? string.Join("; ", reasons) : null;
}

/// <summary>How a loop is.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Reason">Why its last turn failed; null when it did its work.</param>
/// <param name="IsVital">Whether the process cannot do its work without it.</param>
internal sealed record PartHealth(string Name, string? Reason, bool IsVital);
