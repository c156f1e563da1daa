using System.Net;
using PyramidFlow.Server.Rest;

namespace PyramidFlow.Server.Safety;

/// <summary>
/// Keeps pages of other sites out. A page can make its own name point to this machine (DNS rebinding), so a service on a
/// loopback address answers to loopback names only; and it can send requests here, so those that change something or open
/// a socket must come from this very site, or from no page at all.
/// </summary>
internal sealed class OriginCheck(RequestDelegate next, ServerOptions options)
{
    private readonly bool isLoopback = IPAddress.TryParse(options.Host, out var address) && IPAddress.IsLoopback(address);

    public Task InvokeAsync(HttpContext context)
    {
        var request = context.Request;
        if (!IsOurs(request.Host))
            return Problems.WriteAsync(context, ProblemObject.Of(421, $"this service does not answer to the name '{request.Host.Host}': use localhost, or start it with --allow-host {request.Host.Host}", "wrong_host"));
        var origin = request.Headers.Origin.ToString();
        var reads = HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method) || HttpMethods.IsOptions(request.Method);
        var opensSocket = request.Headers.Upgrade.Count > 0 || HttpMethods.IsConnect(request.Method);
        if (origin.Length > 0 && (!reads || opensSocket) && !IsSame(origin, request))
            return Problems.WriteAsync(context, ProblemObject.Of(403, "a page of another site may not use this service", "wrong_origin"));
        return next(context);
    }

    private bool IsOurs(HostString host)
    {
        if (options.AllowedHosts.Contains(host.Host, StringComparer.OrdinalIgnoreCase))
            return true;
        if (!isLoopback)
            return options.AllowedHosts.Count == 0;
        return host.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || (IPAddress.TryParse(host.Host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));
    }

    private static bool IsSame(string origin, HttpRequest request) =>
        Uri.TryCreate(origin, UriKind.Absolute, out var from) && from.Authority.Equals(request.Host.Value, StringComparison.OrdinalIgnoreCase);
}
