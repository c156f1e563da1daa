using System.Data.Common;
using System.Net.Sockets;
using Microsoft.Data.Sqlite;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>Creates folders and tables before other services start. An unavailable database is waited for; any other fault stops the start.</summary>
internal sealed partial class QueueStart(IJobStore store, VideoFolder folder, SqlDialect dialect, ILogger<QueueStart> log) : IHostedLifecycleService
{
    private const int Busy = 5, Locked = 6;
    private static readonly TimeSpan First = TimeSpan.FromSeconds(1), Most = TimeSpan.FromSeconds(10);

    /// <exception cref="ServiceException">Folder or database cannot be used, or the tables have a newer version.</exception>
    public async Task StartingAsync(CancellationToken cancellationToken)
    {
        try
        {
            folder.Create();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw ServiceFault.FolderUnwritable(folder.Root, e);
        }

        await TablesAsync(cancellationToken).ConfigureAwait(false);
        foreach (var (id, reason) in await store.UnreadableAsync(cancellationToken).ConfigureAwait(false))
            LogUnreadable(log, id, reason);
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    private async Task TablesAsync(CancellationToken cancellationToken)
    {
        for (var pause = First; ; pause = pause * 2 < Most ? pause * 2 : Most)
        {
            try
            {
                await store.InitializeAsync(cancellationToken).ConfigureAwait(false);
                return;
            }
            catch (Exception e) when (e is DbException { IsTransient: true } or SqliteException { SqliteErrorCode: Busy or Locked } or SocketException or TimeoutException)
            {
                LogWaiting(log, pause.TotalSeconds, e.Message);
                await Task.Delay(pause, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (e is DbException or IOException or UnauthorizedAccessException or System.Security.Authentication.AuthenticationException)
            {
                var (place, option) = dialect.Source;
                throw ServiceFault.QueueUnusable(place, option, e);
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Waiting for the queue's database, next try in {Seconds} s: {Reason}")]
    private static partial void LogWaiting(ILogger log, double seconds, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Id}: its entry in the queue cannot be read and was set aside: {Reason}")]
    private static partial void LogUnreadable(ILogger log, string id, string reason);
}
