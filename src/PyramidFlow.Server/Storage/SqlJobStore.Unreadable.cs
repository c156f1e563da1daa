using System.Data.Common;
using static PyramidFlow.Server.Storage.JobRow;

namespace PyramidFlow.Server.Storage;

/// <content>
/// What cannot be read is set aside: it gets a status of its own and keeps what it holds. Nobody but its owner is
/// concerned.
/// </content>
internal sealed partial class SqlJobStore
{
    public async Task<IReadOnlyList<(string Id, string Reason)>> UnreadableAsync(CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        return await session.RowsAsync($"SELECT id, fault FROM videos WHERE status = '{Unreadable}' AND {Named} ORDER BY seq",
            row => (row.GetString(0), row.IsDBNull(1) ? "" : row.GetString(1)), cancel).ConfigureAwait(false);
    }

    // Reads rows of jobs. Those that cannot be read are set aside and read again as such; without room for that they are left out.
    private async Task<List<T>> JobsAsync<T>(SqlSession session, string sql, Func<DbDataReader, T> read, CancellationToken cancel, params (string Name, object? Value)[] values)
    {
        var faults = new List<UnreadableRowException>();
        while (true)
        {
            var known = faults.Count;
            var rows = await session.RowsAsync(sql, row => Try(row, read, faults), cancel, values).ConfigureAwait(false);
            if (faults.Count == known || known > 0 || !await TrySetAsideAsync(faults, cancel).ConfigureAwait(false))
                return [.. rows.Where(row => row.IsThere).Select(row => row.Value)];
        }
    }

    private static (bool IsThere, T Value) Try<T>(DbDataReader row, Func<DbDataReader, T> read, List<UnreadableRowException> faults)
    {
        try
        {
            return (true, read(row));
        }
        catch (UnreadableRowException e)
        {
            faults.Add(e);
            return (false, default!);
        }
    }

    private async Task<bool> TrySetAsideAsync(List<UnreadableRowException> faults, CancellationToken cancel)
    {
        try
        {
            await SetAsideAsync(faults, cancel).ConfigureAwait(false);
            return true;
        }
        catch (DbException e)
        {
            foreach (var fault in faults)
                LogLeftOut(fault.Id, fault.Reason, e.Message);
            return false;
        }
    }

    private async Task SetAsideAsync(IReadOnlyList<UnreadableRowException> faults, CancellationToken cancel)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancel).ConfigureAwait(false);
        // A program that knows more reads them.
        await KnownVersionAsync(session, cancel).ConfigureAwait(false);
        var changed = new List<UnreadableRowException>();
        foreach (var fault in faults)
        {
            var revision = await session.NextRevisionAsync(cancel).ConfigureAwait(false);
            if (await session.ExecuteAsync(
                $"UPDATE videos SET fault = @reason, fault_status = CASE status WHEN '{InProgress}' THEN '{Queued}' ELSE status END, status = '{Unreadable}', revision = @revision, {NoLease} "
                + $"WHERE id = @id AND status NOT IN ('{Unreadable}', '{Deleted}')", cancel, ("reason", fault.Reason), ("revision", revision), ("id", fault.Id)).ConfigureAwait(false) > 0)
            {
                changed.Add(fault);
            }
        }

        // A revision that stands for nothing would have everybody look for it.
        if (changed.Count > 0)
            await session.CommitAsync(cancel).ConfigureAwait(false);
        foreach (var fault in changed)
            LogSetAside(fault.Id, fault.Reason);
    }

    // The version of the tables; 0 is one that does not say, or none.
    private static async Task<long> KnownVersionAsync(SqlSession session, CancellationToken cancel)
    {
        var version = await session.ValueAsync<long>(JobSchema.ReadVersion, cancel).ConfigureAwait(false);
        return version <= JobSchema.Version ? version : throw new NewerStoreException(version);
    }

    private void LogSetAside(string id, string reason)
    {
        if (log is not null)
            LogSetAside(log, id, reason);
    }

    private void LogLeftOut(string id, string reason, string why)
    {
        if (log is not null)
            LogLeftOut(log, id, reason, why);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "{Id}: its entry in the queue cannot be read and is set aside, the others go on: {Reason}")]
    private static partial void LogSetAside(ILogger log, string id, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Id}: its entry in the queue cannot be read ({Reason}) and is left out: it cannot be set aside either: {Why}")]
    private static partial void LogLeftOut(ILogger log, string id, string reason, string why);
}
