using System.Net;

namespace PyramidFlow.Server.Http;

/// <summary>
/// Keeps pages of other sites out. A page can make its own name point to this machine (DNS rebinding), so a service on a
/// loopback address answers to loopback names only; and it can send requests here, so those that change something or open
/// a socket must come from this very site, or from no page at all. The browser's own word on that (<c>Sec-Fetch-Site</c>)
/// counts where there is one. Elsewhere, over plain HTTP and in older browsers, the origin tells it, which is <c>null</c>
/// in forms of pages whose referrer policy is <c>no-referrer</c>: that of <see cref="SafeHeaders"/> is another.
/// </summary>
internal sealed class OriginCheck(RequestDelegate next, ServerOptions options)
{
    private readonly bool isLoopback = ListenRules.IsLoopback(options.Host);

    public Task InvokeAsync(HttpContext context)
    {
        var request = context.Request;
        if (!IsOurs(request.Host))
            return Problems.WriteAsync(context, ProblemObject.Of(421, $"this service does not answer to the name '{request.Host.Host}': use localhost, or start it with --allow-host {request.Host.Host}", "wrong_host"));
        var reads = HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method) || HttpMethods.IsOptions(request.Method);
        var opensSocket = request.Headers.Upgrade.Count > 0 || HttpMethods.IsConnect(request.Method);
        if ((!reads || opensSocket) && !IsFromHere(request))
            return Problems.WriteAsync(context, ProblemObject.Of(403, "a page of another site may not use this service: open the address of this service itself, and try again there", "wrong_origin"));
        return next(context);
    }

    private bool IsOurs(HostString host)
    {
        if (IsNamed(host.Host))
            return true;
        if (!isLoopback)
            return options.AllowedHosts.Count == 0;
        return host.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || (IPAddress.TryParse(host.Host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));
    }

    private bool IsNamed(string host) => options.AllowedHosts.Contains(host, StringComparer.OrdinalIgnoreCase);

    private bool IsFromHere(HttpRequest request)
    {
        // No page can set it: same-origin is a page of ours, none is the user.
        if (request.Headers["Sec-Fetch-Site"].ToString() is { Length: > 0 } site)
            return site is "same-origin" or "none";
        if (request.Headers.Origin.ToString() is not { Length: > 0 } origin)
            return true;
        // A proxy may call us by another name than the browser calls it.
        return Uri.TryCreate(origin, UriKind.Absolute, out var from)
            && (from.Authority.Equals(request.Host.Value, StringComparison.OrdinalIgnoreCase) || IsNamed(from.Host))
            && !(request.IsHttps && from.Scheme == Uri.UriSchemeHttp);
    }
}
