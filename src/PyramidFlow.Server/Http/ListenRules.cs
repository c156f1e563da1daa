using System.Net;

namespace PyramidFlow.Server.Http;

/// <summary>Where a service may listen.</summary>
internal static class ListenRules
{
    /// <summary>The address to listen on.</summary>
    /// <exception cref="ArgumentException">It is no address, or others could reach it without a key.</exception>
    public static IPAddress Check(ServerOptions options, ApiKeys keys)
    {
        var address = Address(options.Host)
            ?? throw new ArgumentException($"'{options.Host}' is no address to listen on: use 127.0.0.1, 0.0.0.0 or an address of this machine");
        if (keys.InUse)
            return address;
        if (!IPAddress.IsLoopback(address))
            throw new ArgumentException($"{options.Host} can be reached from other machines, and there is no API key yet: make one with 'pyramidflow keys add NAME', or listen on 127.0.0.1");
        return options.Proxies.Count == 0 ? address
            : throw new ArgumentException("a proxy lets other machines in, and there is no API key yet: make one with 'pyramidflow keys add NAME', or leave out --proxy");
    }

    /// <summary>Whether an address to listen on can be reached from this machine only.</summary>
    public static bool IsLoopback(string host) => Address(host) is { } address && IPAddress.IsLoopback(address);

    private static IPAddress? Address(string host) => host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ? IPAddress.Loopback
        : IPAddress.TryParse(host, out var parsed) ? parsed : null;
}
