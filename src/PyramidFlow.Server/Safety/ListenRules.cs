using System.Net;

namespace PyramidFlow.Server.Safety;

/// <summary>Where a service may listen.</summary>
internal static class ListenRules
{
    /// <summary>The address to listen on.</summary>
    /// <exception cref="ArgumentException">It is no address, or others could reach it without a key.</exception>
    public static IPAddress Check(ServerOptions options, ApiKeys keys)
    {
        var address = options.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ? IPAddress.Loopback
            : IPAddress.TryParse(options.Host, out var parsed) ? parsed
            : throw new ArgumentException($"'{options.Host}' is no address to listen on: use 127.0.0.1, 0.0.0.0 or an address of this machine");
        return IPAddress.IsLoopback(address) || keys.InUse ? address
            : throw new ArgumentException($"{options.Host} can be reached from other machines, and there is no API key yet: make one with 'pyramidflow keys add NAME', or listen on 127.0.0.1");
    }
}
