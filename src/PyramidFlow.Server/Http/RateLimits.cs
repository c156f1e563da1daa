using System.Threading.RateLimiting;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Http;

/// <summary>
/// How many keys an address, of version 6 a network, may try in a minute. New videos are counted where they are submitted, by REST and the page
/// alike; here a request for one too many is only refused before its body is read.
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
            var problem = ProblemObject.Of(429, $"too many requests in one minute: try again in {seconds} seconds", "rate_limit") with { RetryAfterSeconds = seconds };
            await Problems.WriteAsync(rejected.HttpContext, problem).ConfigureAwait(false);
        };
    });

    /// <summary>Refuses a request for one video too many early. A repeated one, by its idempotency key, is not for a new video and goes on.</summary>
    public static RouteHandlerBuilder RefuseTooManyEarly(this RouteHandlerBuilder endpoint, string idempotencyKey) => endpoint.AddEndpointFilter(async (invocation, next) =>
    {
        var context = invocation.HttpContext;
        var (owner, store, key) = (Owner.Of(context.User), context.RequestServices.GetRequiredService<IJobStore>(), context.Request.Headers[idempotencyKey].ToString());
        if (key.Length == 0 || !await store.HasKeyAsync(owner, key, context.RequestAborted).ConfigureAwait(false))
        {
            var limits = context.RequestServices.GetRequiredService<ServerLimits>();
            await store.CheckRequestsAsync(owner, limits.RequestsPerMinute, context.RequestAborted).ConfigureAwait(false);
        }

        return await next(invocation).ConfigureAwait(false);
    });

    private static RateLimitPartition<string> Window(string who, int most) =>
        RateLimitPartition.GetFixedWindowLimiter(who, _ => new FixedWindowRateLimiterOptions { PermitLimit = most, Window = Minute });
}
