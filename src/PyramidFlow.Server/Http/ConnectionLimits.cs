using System.Net;
using System.Net.Sockets;
using System.Threading.RateLimiting;
using Microsoft.AspNetCore.Connections;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Http;

/// <summary>
/// Limits the number of connections, in total and per address. At the limit, the connection that was idle longest is
/// closed for a new one. Connections with a request in progress (events, streams, pages) are never closed. A new
/// connection is refused only when none is idle.
/// </summary>
internal sealed partial class ConnectionLimits(ServerLimits limits, ILogger<ConnectionLimits> log)
{
    private static readonly TimeSpan Silence = TimeSpan.FromMinutes(1);
    private readonly Lock gate = new();
    private readonly Dictionary<IPAddress, Place> places = [];
    private int count;
    private DateTime told = DateTime.MinValue;

    /// <summary>Counts a connection while it is open.</summary>
    public async Task HoldAsync(ConnectionContext connection, ConnectionDelegate next)
    {
        var held = new Held(this, connection);
        if (!TryAdd(held, out var idle))
        {
            connection.Abort(new ConnectionAbortedException("there are too many connections"));
            return;
        }

        idle?.Connection.Abort(new ConnectionAbortedException("it was idle, and another needed its place"));
        connection.Features.Set(held);
        try
        {
            await next(connection).ConfigureAwait(false);
        }
        finally
        {
            Remove(held);
        }
    }

    /// <summary>Marks the connection as busy during a request.</summary>
    public static async Task AnswerAsync(HttpContext context, RequestDelegate next)
    {
        var held = context.Features.Get<Held>();
        held?.Use(+1);
        try
        {
            await next(context).ConfigureAwait(false);
        }
        finally
        {
            held?.Use(-1);
        }
    }

    /// <summary>Returns the address to count: for IPv6 the /64 network, since its owner has all of its addresses.</summary>
    public static IPAddress NetworkOf(IPAddress? address)
    {
        if (address is null)
            return IPAddress.None;
        if (address.IsIPv4MappedToIPv6)
            return address.MapToIPv4();
        if (address.AddressFamily != AddressFamily.InterNetworkV6)
            return address;
        var bytes = address.GetAddressBytes();
        bytes.AsSpan(8).Clear();
        return new IPAddress(bytes);
    }

    private bool TryAdd(Held held, out Held? idle)
    {
        idle = null;
        lock (gate)
        {
            var isFull = false;
            if (places.TryGetValue(held.Address, out var place) && place.Count >= limits.ConnectionsPerAddress)
                isFull = (idle = place.Idle.First?.Value) is null;
            else if (count >= limits.Connections)
                isFull = (idle = places.Values.Where(other => other.Idle.Count > 0).MaxBy(other => other.Count)?.Idle.First?.Value) is null;
            if (isFull)
            {
                Refuse(held.Address);
                return false;
            }

            // The closed connection counts no more, though closing may take a moment.
            if (idle is not null)
                RemoveHere(idle);
            place = places.TryGetValue(held.Address, out place) ? place : places[held.Address] = new Place();
            place.Count++;
            count++;
            held.Idle = place.Idle.AddLast(held);
            return true;
        }
    }

    private void Remove(Held held)
    {
        lock (gate)
            RemoveHere(held);
    }

    private void RemoveHere(Held held)
    {
        if (held.IsGone)
            return;
        held.IsGone = true;
        var place = places[held.Address];
        if (held.Idle is not null)
            place.Idle.Remove(held.Idle);
        count--;
        if (--place.Count == 0)
            places.Remove(held.Address);
    }

    private void Use(Held held, int change)
    {
        lock (gate)
        {
            if (held.IsGone)
                return;
            held.Requests += change;
            var idle = places[held.Address].Idle;
            if (held.Requests == 0)
            {
                held.Idle = idle.AddLast(held);
            }
            else if (held.Idle is not null)
            {
                idle.Remove(held.Idle);
                held.Idle = null;
            }
        }
    }

    private void Refuse(IPAddress address)
    {
        if (DateTime.UtcNow - told < Silence)
            return;
        told = DateTime.UtcNow;
        LogRefused(log, address, limits.ConnectionsPerAddress, limits.Connections);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "A connection from {Address} is refused, all of its {PerAddress} or of all {Most} are in use: "
        + "--max-connections-per-address and --max-connections allow more, as a proxy in front may need")]
    private static partial void LogRefused(ILogger log, IPAddress address, int perAddress, int most);

    private sealed class Place
    {
        public int Count { get; set; }

        /// <summary>Connections without a request, the longest idle first.</summary>
        public LinkedList<Held> Idle { get; } = [];
    }

    /// <summary>A connection and its state.</summary>
    private sealed class Held(ConnectionLimits limits, ConnectionContext connection)
    {
        public ConnectionContext Connection { get; } = connection;

        public IPAddress Address { get; } = NetworkOf((connection.RemoteEndPoint as IPEndPoint)?.Address);

        public int Requests { get; set; }

        public LinkedListNode<Held>? Idle { get; set; }

        public bool IsGone { get; set; }

        public void Use(int change) => limits.Use(this, change);
    }
}

/// <summary>
/// Limits the number of sign-in attempts per address or IPv6 network and minute. New videos are counted at their
/// submission, by REST and the page alike; this filter only refuses excess requests before their body is read.
/// </summary>
internal static class RateLimits
{
    public const string SignIn = "signin";
    private const int SignInsPerMinute = 10;
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    public static IServiceCollection AddRateLimits(this IServiceCollection services) => services.AddRateLimiter(limiter =>
    {
        limiter.AddPolicy(SignIn, context => Window(ConnectionLimits.NetworkOf(context.Connection.RemoteIpAddress).ToString(), SignInsPerMinute));
        limiter.OnRejected = async (rejected, _) =>
        {
            var seconds = rejected.Lease.TryGetMetadata(MetadataName.RetryAfter, out var wait) ? (int)Math.Ceiling(wait.TotalSeconds) : 60;
            await Problems.WriteAsync(rejected.HttpContext, ServiceFault.TooManySignIns(seconds)).ConfigureAwait(false);
        };
    });

    /// <summary>
    /// Refuses excess requests before their body is read. A repeated request with the same idempotency key passes,
    /// since it makes no new video.
    /// </summary>
    public static RouteHandlerBuilder RefuseTooManyEarly(this RouteHandlerBuilder endpoint, string idempotencyKey) => endpoint.AddEndpointFilter(async (invocation, next) =>
    {
        var context = invocation.HttpContext;
        var (owner, store, key) = (Owner.From(context.User), context.RequestServices.GetRequiredService<IJobStore>(), context.Request.Headers[idempotencyKey].ToString());
        if (key.Length == 0 || !await store.HasKeyAsync(owner, key, context.RequestAborted).ConfigureAwait(false))
        {
            var limits = context.RequestServices.GetRequiredService<ApiKeys>().LimitsOf(owner).Over(context.RequestServices.GetRequiredService<ServerLimits>());
            await store.CheckRequestsAsync(owner, limits.RequestsPerMinute, context.RequestAborted).ConfigureAwait(false);
            await store.CheckDayAsync(owner, limits.VideosPerDay, context.RequestAborted).ConfigureAwait(false);
        }

        return await next(invocation).ConfigureAwait(false);
    });

    private static RateLimitPartition<string> Window(string who, int most) =>
        RateLimitPartition.GetFixedWindowLimiter(who, _ => new FixedWindowRateLimiterOptions { PermitLimit = most, Window = Minute });
}
