using System.Net;
using Microsoft.AspNetCore.HttpOverrides;

namespace PyramidFlow.Server.Http;

/// <summary>
/// What proxies say of a visitor: address, scheme and host. Only those that are named are believed, so that no visitor
/// can pass for another by sending such a header.
/// </summary>
internal static class TrustedProxies
{
    /// <exception cref="ArgumentException">One is neither an address nor a network.</exception>
    public static IServiceCollection AddProxies(this IServiceCollection services, IReadOnlyList<string> proxies)
    {
        var networks = proxies.Select(Network).ToList();
        return services.Configure<ForwardedHeadersOptions>(forwarded =>
        {
            forwarded.KnownProxies.Clear();
            forwarded.KnownIPNetworks.Clear();
            foreach (var network in networks)
                forwarded.KnownIPNetworks.Add(network);
            // None is not nobody to the framework, but everybody.
            forwarded.ForwardedHeaders = networks.Count == 0 ? ForwardedHeaders.None : ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto | ForwardedHeaders.XForwardedHost;
            // A chain of proxies is followed as long as they are named.
            forwarded.ForwardLimit = null;
        });
    }

    public static void UseProxies(this WebApplication app) => app.UseForwardedHeaders();

    private static System.Net.IPNetwork Network(string text) => System.Net.IPNetwork.TryParse(text, out var network) ? network
        : IPAddress.TryParse(text, out var address) ? new System.Net.IPNetwork(address, address.GetAddressBytes().Length * 8)
        : throw new ArgumentException($"'{text}' is no address of a proxy: use one such as 127.0.0.1, or a network such as 10.0.0.0/8");
}
