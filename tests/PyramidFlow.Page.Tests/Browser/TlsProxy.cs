using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace PyramidFlow.Page.Tests.Browser;

/// <summary>
/// A proxy that speaks TLS with the browser, and plain HTTP with a server that it calls by its address, as proxies do
/// unless told otherwise. What the browser asked for it says in <c>X-Forwarded</c> headers. A connection serves one request.
/// </summary>
internal sealed class TlsProxy : IAsyncDisposable
{
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource ended = new();
    private readonly X509Certificate2 certificate = SelfSigned();
    private readonly Uri server;
    private readonly Task running;

    public TlsProxy(Uri server)
    {
        this.server = server;
        listener.Start();
        running = RunAsync();
    }

    public int Port => ((IPEndPoint)listener.LocalEndpoint).Port;

    public async ValueTask DisposeAsync()
    {
        await ended.CancelAsync();
        listener.Stop();
        await running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        certificate.Dispose();
        ended.Dispose();
    }

    private static X509Certificate2 SelfSigned()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var made = new CertificateRequest($"CN={Chromium.OtherName}", key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
    }

    private async Task RunAsync()
    {
        var open = new List<Task>();
        try
        {
            while (true)
                open.Add(ServeAsync(await listener.AcceptTcpClientAsync(ended.Token)));
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException)
        {
            // It is over.
        }

        await Task.WhenAll(open);
    }

    private async Task ServeAsync(TcpClient browser)
    {
        using var from = browser;
        using var to = new TcpClient();
        try
        {
            await using var tls = new SslStream(from.GetStream());
            await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions { ServerCertificate = certificate }, ended.Token);
            var (head, more) = await HeadAsync(tls);
            if (head.Length == 0)
                return;
            await to.ConnectAsync(server.Host, server.Port, ended.Token);
            await using var plain = to.GetStream();
            await plain.WriteAsync(Encoding.Latin1.GetBytes(Rewritten(head)), ended.Token);
            await plain.WriteAsync(more, ended.Token);
            var (asked, answered) = (tls.CopyToAsync(plain, ended.Token), plain.CopyToAsync(tls, ended.Token));
            // A browser that has said all may still wait for the answer.
            if (await Task.WhenAny(asked, answered) == asked)
                to.Client.Shutdown(SocketShutdown.Send);
            await answered;
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or System.Security.Authentication.AuthenticationException)
        {
            // Browsers open connections that they do not use, and hang up when they like.
        }
    }

    // The lines of the request before its body, and what came of that.
    private async Task<(string Head, ReadOnlyMemory<byte> More)> HeadAsync(Stream stream)
    {
        var (buffer, count) = (new byte[1 << 16], 0);
        while (count < buffer.Length && await stream.ReadAsync(buffer.AsMemory(count), ended.Token) is > 0 and var read)
        {
            count += read;
            if (buffer.AsSpan(0, count).IndexOf("\r\n\r\n"u8) is >= 0 and var end)
                return (Encoding.Latin1.GetString(buffer, 0, end), buffer.AsMemory(end + 4, count - end - 4));
        }

        return ("", default);
    }

    private string Rewritten(string head)
    {
        var lines = head.Split("\r\n").ToList();
        var upgrades = lines.Exists(line => line.StartsWith("Upgrade:", StringComparison.OrdinalIgnoreCase));
        var asked = lines.First(line => line.StartsWith("Host:", StringComparison.OrdinalIgnoreCase))[5..].Trim();
        lines.RemoveAll(line => line.StartsWith("Host:", StringComparison.OrdinalIgnoreCase) || (!upgrades && line.StartsWith("Connection:", StringComparison.OrdinalIgnoreCase)));
        lines.AddRange([$"Host: {server.Authority}", $"X-Forwarded-Host: {asked}", "X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.7"]);
        if (!upgrades)
            lines.Add("Connection: close");
        return string.Join("\r\n", lines) + "\r\n\r\n";
    }
}
