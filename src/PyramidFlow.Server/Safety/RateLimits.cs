using System.Threading.RateLimiting;
using PyramidFlow.Server.Jobs;
using PyramidFlow.Server.Rest;

namespace PyramidFlow.Server.Safety;

/// <summary>How many new videos an owner may ask for in a minute, and how many keys an address may try.</summary>
internal static class RateLimits
{
    public const string Create = "create", SignIn = "signin";
    private const int SignInsPerMinute = 10;
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    public static IServiceCollection AddRateLimits(this IServiceCollection services, ServerLimits limits) => services.AddRateLimiter(limiter =>
    {
        limiter.AddPolicy(Create, context => Window(Owner.Of(context.User).Name, limits.RequestsPerMinute));
        limiter.AddPolicy(SignIn, context => Window(context.Connection.RemoteIpAddress?.ToString() ?? "", SignInsPerMinute));
        limiter.OnRejected = async (rejected, _) =>
        {
            var seconds = rejected.Lease.TryGetMetadata(MetadataName.RetryAfter, out var wait) ? (int)Math.Ceiling(wait.TotalSeconds) : 60;
            var problem = ProblemObject.Of(429, $"too many requests in one minute: try again in {seconds} seconds", "rate_limit") with { RetryAfterSeconds = seconds };
            await Problems.WriteAsync(rejected.HttpContext, problem).ConfigureAwait(false);
        };
    });

    private static RateLimitPartition<string> Window(string who, int most) =>
        RateLimitPartition.GetFixedWindowLimiter(who, _ => new FixedWindowRateLimiterOptions { PermitLimit = most, Window = Minute });
}
