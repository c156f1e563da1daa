using System.Net;
using Microsoft.AspNetCore.HttpOverrides;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Http;

/// <summary>Where a service listens, and under which names it answers.</summary>
/// <param name="Host">Address to listen on.</param>
/// <param name="AllowedHosts">Host names that are accepted beside the address itself.</param>
/// <param name="Proxies">Addresses or networks of trusted proxies.</param>
internal sealed record ListenRules(string Host, IReadOnlyList<string> AllowedHosts, IReadOnlyList<string> Proxies)
{
    /// <summary>Returns the address to listen on.</summary>
    /// <exception cref="ServiceOptionException">The host is no address, or is reachable from other machines while there are no keys.</exception>
    public IPAddress Check(ApiKeys keys)
    {
        var address = Parse(Host) ?? throw ServiceFault.HostInvalid(Host);
        if (keys.InUse)
            return address;
        if (!IPAddress.IsLoopback(address))
            throw ServiceFault.HostWithoutKey(Host);
        return Proxies.Count == 0 ? address : throw ServiceFault.ProxyWithoutKey();
    }

    /// <summary>Whether the service is reachable from this machine only.</summary>
    public bool IsLoopback { get; } = Parse(Host) is { } address && IPAddress.IsLoopback(address);

    private static IPAddress? Parse(string host) => host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ? IPAddress.Loopback
        : IPAddress.TryParse(host, out var parsed) ? parsed : null;
}

/// <summary>
/// Refuses requests of pages of other sites. A page can make its own name resolve to this machine (DNS rebinding), so a
/// service on a loopback address answers to loopback names only. A page can also send requests here, so requests that
/// change something or open a socket must come from this site, or from no page at all. The browser states this in
/// <c>Sec-Fetch-Site</c>; without it (plain HTTP, older browsers) the origin decides. The origin is <c>null</c> in
/// forms of pages with the referrer policy <c>no-referrer</c>, which <see cref="SafeHeaders"/> therefore avoids.
/// </summary>
internal sealed class OriginCheck(RequestDelegate next, ListenRules rules, CrossOrigin others)
{
    public Task InvokeAsync(HttpContext context)
    {
        var request = context.Request;
        if (!IsOurs(request.Host))
            return Problems.WriteAsync(context, ServiceFault.HostUnknown(request.Host.Host));
        var reads = HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method) || HttpMethods.IsOptions(request.Method);
        var opensSocket = request.Headers.Upgrade.Count > 0 || HttpMethods.IsConnect(request.Method);
        if ((!reads || opensSocket) && !IsFromHere(request) && (opensSocket || !others.Allows(request)))
            return Problems.WriteAsync(context, ServiceFault.OriginForeign());
        return next(context);
    }

    private bool IsOurs(HostString host)
    {
        if (IsNamed(host.Host))
            return true;
        if (!rules.IsLoopback)
            return rules.AllowedHosts.Count == 0;
        return host.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || (IPAddress.TryParse(host.Host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));
    }

    private bool IsNamed(string host) => rules.AllowedHosts.Contains(host, StringComparer.OrdinalIgnoreCase);

    private bool IsFromHere(HttpRequest request)
    {
        // No page can set this header: same-origin is a page of this service, none is the user.
        if (request.Headers["Sec-Fetch-Site"].ToString() is { Length: > 0 } site)
            return site is "same-origin" or "none";
        if (request.Headers.Origin.ToString() is not { Length: > 0 } origin)
            return true;
        // The proxy may use another name for the service than the browser.
        return Uri.TryCreate(origin, UriKind.Absolute, out var from)
            && (from.Authority.Equals(request.Host.Value, StringComparison.OrdinalIgnoreCase) || IsNamed(from.Host))
            && !(request.IsHttps && from.Scheme == Uri.UriSchemeHttp);
    }
}

/// <summary>
/// Reads a visitor's address, scheme and host from the headers of proxies. Only configured proxies are trusted, so that
/// no visitor can impersonate another.
/// </summary>
internal static class TrustedProxies
{
    /// <exception cref="ServiceOptionException">An entry is neither an address nor a network.</exception>
    public static IServiceCollection AddProxies(this IServiceCollection services, IReadOnlyList<string> proxies)
    {
        var networks = proxies.Select(Network).ToList();
        return services.Configure<ForwardedHeadersOptions>(forwarded =>
        {
            forwarded.KnownProxies.Clear();
            forwarded.KnownIPNetworks.Clear();
            foreach (var network in networks)
                forwarded.KnownIPNetworks.Add(network);
            // The framework takes an empty list for everybody.
            forwarded.ForwardedHeaders = networks.Count == 0 ? ForwardedHeaders.None : ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto | ForwardedHeaders.XForwardedHost;
            // A chain of proxies is followed while all of them are configured.
            forwarded.ForwardLimit = null;
        });
    }

    private static System.Net.IPNetwork Network(string text) => System.Net.IPNetwork.TryParse(text, out var network) ? network
        : IPAddress.TryParse(text, out var address) ? new System.Net.IPNetwork(address, address.GetAddressBytes().Length * 8)
        : throw ServiceFault.ProxyInvalid(text);
}

/// <summary>Security headers of every response: nothing is loaded from elsewhere, framed, or interpreted as another type.</summary>
internal static class SafeHeaders
{
    // The page has no inline scripts or styles.
    private const string Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
        + "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

    public static void UseSafeHeaders(this WebApplication app) => app.Use((context, next) =>
    {
        var headers = context.Response.Headers;
        headers.ContentSecurityPolicy = Policy;
        headers.XContentTypeOptions = "nosniff";
        // Not no-referrer: forms of the page would have the origin null, as forms of other sites can.
        headers["Referrer-Policy"] = "same-origin";
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        return next(context);
    });
}
