using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;

namespace PyramidFlow.Server.Domain;

/// <summary>Where ended videos may be announced. Requests choose addresses, so hosts must be listed, and addresses of private networks are out of reach unless they are allowed.</summary>
/// <param name="Hosts">Hosts such as <c>hooks.example</c>, <c>hooks.example:8443</c>, <c>*.example</c> (all names below it) or <c>*</c>; none turns webhooks off.</param>
/// <param name="AllowsPrivate">Whether addresses of this machine and of private networks, and <c>http</c>, are allowed.</param>
internal sealed partial record WebhookRules(IReadOnlyList<string> Hosts, bool AllowsPrivate)
{
    private const int LongestUrl = 2000;

    /// <summary>How long a receiver may take to answer.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Pauses before the second and later tries, longer than <see cref="Timeout"/>; after the last try an announcement is given up.</summary>
    public IReadOnlyList<TimeSpan> Pauses { get; init; } =
    [
        TimeSpan.FromSeconds(15), TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(5), TimeSpan.FromMinutes(30), TimeSpan.FromHours(2), TimeSpan.FromHours(5), TimeSpan.FromHours(10),
    ];

    /// <summary>Whether there are webhooks.</summary>
    public bool IsOn => Hosts.Count > 0;

    /// <summary>Checks the list of hosts.</summary>
    /// <exception cref="ServiceOptionException">An entry is no host.</exception>
    public void CheckHosts()
    {
        if (Hosts.FirstOrDefault(host => !HostForm.IsMatch(host)) is { } wrong)
            throw ServiceFault.WebhookHostInvalid(wrong);
    }

    /// <summary>Checks an address of a request.</summary>
    /// <exception cref="JobException">It is no address, or one that is not allowed.</exception>
    public void Check(string url)
    {
        if (!IsOn)
            throw ServiceFault.WebhooksOff();
        // What is kept is the form with escapes, which may be longer.
        var uri = (url.Length <= LongestUrl && Normal(url).Length <= LongestUrl ? Parse(url) : null) ?? throw ServiceFault.WebhookInvalid(AllowsPrivate, LongestUrl);
        if (!Names(uri))
            throw ServiceFault.WebhookHostNotListed(uri.IdnHost + (uri.IsDefaultPort ? "" : FormattableString.Invariant($":{uri.Port}")));
    }

    /// <summary>
    /// The one form of an address, so that all addresses of a receiver begin with the same text (<see cref="ReceiverOf"/>): host in lower-case ASCII, no port where it is that of the scheme, a path of at least <c>/</c>.
    /// </summary>
    public static string Normal(string url) => Uri.TryCreate(url, UriKind.Absolute, out var uri) && uri.IdnHost.Length > 0
        ? RootOf(uri) + uri.PathAndQuery[1..] : url;

    /// <summary>Scheme, host and port of an address, with the slash behind them.</summary>
    public static string ReceiverOf(string url) => Uri.TryCreate(url, UriKind.Absolute, out var uri) ? RootOf(uri) : url;

    private static string RootOf(Uri uri) =>
        $"{uri.Scheme}://{(uri.HostNameType == UriHostNameType.IPv6 ? uri.Host : uri.IdnHost)}{(uri.IsDefaultPort ? "" : FormattableString.Invariant($":{uri.Port}"))}/";

    /// <summary>Whether an address is still allowed; the rules may have changed since it was accepted.</summary>
    public bool Allows(string url) => Parse(url) is { } uri && Names(uri);

    /// <summary>Whether an address is one of the public internet, and of none that is kept for networks, machines, tests or translation.</summary>
    public static bool IsPublic(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        if (address.AddressFamily == AddressFamily.InterNetwork)
            return !KeptOf4.Any(network => network.Contains(address));
        return address.AddressFamily == AddressFamily.InterNetworkV6 && Global.Contains(address) && !KeptOf6.Any(network => network.Contains(address));
    }

    // Of version 6 only what is given out; of that, what holds addresses of version 4 or is kept for tests is out of reach.
    private static readonly IPNetwork Global = IPNetwork.Parse("2000::/3");

    private static readonly IPNetwork[] KeptOf6 = [.. new[] { "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20" }.Select(IPNetwork.Parse)];

    private static readonly IPNetwork[] KeptOf4 =
    [
        .. new[]
        {
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
            "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        }.Select(IPNetwork.Parse),
    ];

    [GeneratedRegex(@"^(\*|(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$")]
    private static partial Regex HostForm { get; }

    private Uri? Parse(string url) => Uri.TryCreate(url, UriKind.Absolute, out var uri) && (uri.Scheme == Uri.UriSchemeHttps || (AllowsPrivate && uri.Scheme == Uri.UriSchemeHttp))
        && uri is { UserInfo: "", Fragment: "" } && uri.IdnHost.Length > 0 ? uri : null;

    // A host without a port is that of the scheme.
    private bool Names(Uri uri)
    {
        var host = uri.HostNameType == UriHostNameType.IPv6 ? uri.Host : uri.IdnHost;
        return Hosts.Any(entry =>
        {
            var end = entry.LastIndexOf(':');
            var (name, port) = end > entry.LastIndexOf(']') ? (entry[..end], entry[(end + 1)..]) : (entry, "");
            return (port.Length == 0 ? uri.IsDefaultPort : port == FormattableString.Invariant($"{uri.Port}"))
                && (name == "*" || name.Equals(host, StringComparison.OrdinalIgnoreCase) || (name.StartsWith("*.", StringComparison.Ordinal) && host.EndsWith(name[1..], StringComparison.OrdinalIgnoreCase)));
        });
    }
}
