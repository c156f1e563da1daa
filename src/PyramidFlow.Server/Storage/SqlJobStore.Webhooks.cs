using PyramidFlow.Server.Domain;
using static PyramidFlow.Server.Storage.JobRow;

namespace PyramidFlow.Server.Storage;

/// <summary>Announcements of ended videos that are to be sent. They are written together with the end of the video, so that none is lost and none is sent for what did not happen.</summary>
internal interface IWebhookStore
{
    /// <summary>
    /// Returns the next announcement whose time has come, and sets the time of its next try at once: should this process end meanwhile, another one tries then. Null when there is none.
    /// </summary>
    /// <param name="pauses">Pauses before the second and later tries; the last one holds for all others.</param>
    /// <param name="busy">Receivers that get no more for now (<see cref="WebhookRules.ReceiverOf"/>).</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    Task<WebhookEvent?> NextWebhookAsync(IReadOnlyList<TimeSpan> pauses, IReadOnlyCollection<string> busy, CancellationToken cancellationToken);

    /// <summary>Removes an announcement that was received or given up.</summary>
    Task RemoveWebhookAsync(string id, CancellationToken cancellationToken);

    /// <summary>Removes announcements whose next try was due longer ago than an age: no server sends them, because webhooks are switched off. The caller knows that servers have run for that long.</summary>
    /// <returns>How many were removed.</returns>
    Task<int> PurgeWebhooksAsync(TimeSpan age, CancellationToken cancellationToken);
}

/// <summary>An announcement of an ended video.</summary>
/// <param name="Id">Its id, the same in all tries.</param>
/// <param name="Video">Id of the video.</param>
/// <param name="Owner">Owner of the video.</param>
/// <param name="Url">Where it goes.</param>
/// <param name="Type">video.completed or video.failed.</param>
/// <param name="CreatedAt">When the video ended.</param>
/// <param name="Attempt">Number of this try, from 1.</param>
internal sealed record WebhookEvent(string Id, string Video, Owner Owner, string Url, string Type, DateTimeOffset CreatedAt, int Attempt);

/// <content>Announcements of ended videos.</content>
internal sealed partial class SqlJobStore : IWebhookStore
{
    public async Task<WebhookEvent?> NextWebhookAsync(IReadOnlyList<TimeSpan> pauses, IReadOnlyCollection<string> busy, CancellationToken cancellationToken)
    {
        var named = busy.Select((receiver, i) => (Name: FormattableString.Invariant($"busy{i}"), Value: (object?)receiver)).ToArray();
        var others = string.Concat(named.Select(each => FormattableString.Invariant($" AND substr(url, 1, {((string)each.Value!).Length}) <> @{each.Name}")));
        var due = $"FROM webhooks WHERE not_before <= {dialect.Now}{others} ORDER BY not_before, id LIMIT 1";
        // Read first: most looks find none and must not block writers.
        if (!await AnyAsync(due, named, cancellationToken).ConfigureAwait(false))
            return null;
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        var found = await session.RowsAsync($"SELECT id, video, owner, url, event, created, attempt {due} {dialect.SkipLocked}",
            row => new WebhookEvent(row.GetString(0), row.GetString(1), new Owner(Text(row, 2)), row.GetString(3), row.GetString(4), DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64(5)), row.GetInt32(6) + 1),
            cancellationToken, named).ConfigureAwait(false);
        if (found is not [var next])
            return null;
        var pause = pauses[Math.Min(next.Attempt, pauses.Count) - 1];
        await session.ExecuteAsync($"UPDATE webhooks SET attempt = @attempt, not_before = {dialect.Now} + @pause WHERE id = @id", cancellationToken,
            ("attempt", next.Attempt), ("pause", (long)pause.TotalMilliseconds), ("id", next.Id)).ConfigureAwait(false);
        await session.CommitAsync(cancellationToken).ConfigureAwait(false);
        return next;
    }

    public async Task RemoveWebhookAsync(string id, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        await session.ExecuteAsync("DELETE FROM webhooks WHERE id = @id", cancellationToken, ("id", id)).ConfigureAwait(false);
        await session.CommitAsync(cancellationToken).ConfigureAwait(false);
    }

    public async Task<int> PurgeWebhooksAsync(TimeSpan age, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        // The first try is due when the video ends.
        var count = await session.ExecuteAsync($"DELETE FROM webhooks WHERE CASE WHEN attempt = 0 THEN created ELSE not_before END < {dialect.Now} - @age", cancellationToken,
            ("age", (long)age.TotalMilliseconds)).ConfigureAwait(false);
        await session.CommitAsync(cancellationToken).ConfigureAwait(false);
        return count;
    }

    // A video ends once, so its announcement has its id.
    private Task AnnounceEndsAsync(SqlSession session, long revision, CancellationToken cancellationToken) => session.ExecuteAsync(
        $"INSERT INTO webhooks (id, video, owner, url, event, created) SELECT 'evt_' || substr(id, 7), id, owner, webhook, CASE status WHEN '{Completed}' THEN 'video.completed' ELSE 'video.failed' END, {dialect.Now} "
        + $"FROM videos WHERE revision = @revision AND status IN ('{Completed}', '{Failed}') AND webhook IS NOT NULL ON CONFLICT (id) DO NOTHING", cancellationToken, ("revision", revision));
}
