using System.Globalization;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <content>Counts what owners ask for.</content>
internal sealed partial class SqlJobStore
{
    private const long MinuteMilliseconds = 60_000;

    // A clock that was set back must not keep anybody out.
    private string MinuteIsOver => $"(requests.since <= {dialect.Now} - {MinuteMilliseconds} OR requests.since > {dialect.Now})";

    public async Task CountRequestAsync(Owner owner, int mostPerMinute, CancellationToken cancel)
    {
        while (true)
        {
            // Read first: who asks over and over in vain does not hold up writers.
            await CheckRequestsAsync(owner, mostPerMinute, cancel).ConfigureAwait(false);
            await using var session = await SqlSession.WriteAsync(dialect, cancel).ConfigureAwait(false);
            var count = await session.ValueAsync<long>(
                $"INSERT INTO requests (owner, since, count) VALUES (@owner, {dialect.Now}, 1) ON CONFLICT (owner) DO UPDATE SET "
                + $"count = CASE WHEN {MinuteIsOver} THEN 1 ELSE requests.count + 1 END, since = CASE WHEN {MinuteIsOver} THEN {dialect.Now} ELSE requests.since END "
                + $"WHERE {MinuteIsOver} OR requests.count < @most RETURNING count",
                cancel, ("owner", owner.Name), ("most", (long)mostPerMinute)).ConfigureAwait(false);
            // None: others took the last ones meanwhile.
            if (count == 0)
                continue;
            await session.CommitAsync(cancel).ConfigureAwait(false);
            return;
        }
    }

    public async Task CheckRequestsAsync(Owner owner, int mostPerMinute, CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        var wait = await session.ValueAsync<long>($"SELECT since + {MinuteMilliseconds} - {dialect.Now} FROM requests WHERE owner = @owner AND count >= @most AND NOT {MinuteIsOver}",
            cancel, ("owner", owner.Name), ("most", (long)mostPerMinute)).ConfigureAwait(false);
        if (wait <= 0)
            return;
        var seconds = (int)Math.Ceiling(wait / 1000.0);
        throw new JobException(JobFault.RateLimit, string.Create(CultureInfo.InvariantCulture, $"too many videos were asked for in one minute: try again in {seconds} seconds")) { RetryAfterSeconds = seconds };
    }
}
