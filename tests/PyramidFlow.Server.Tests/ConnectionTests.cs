using System.Net;
using System.Net.Sockets;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Tests;

/// <summary>Connections that take places and do nothing. Idle ones are kept for an hour here: nothing but the limits makes room.</summary>
public sealed class ConnectionTests() : StartedServer(options => options with
{
    RunsWorker = false,
    Limits = new ServerLimits { Connections = 60, ConnectionsPerAddress = 40, IdleSeconds = 3600, HeaderSeconds = 3600 },
})
{
    [Fact]
    public async Task Idle_connections_of_a_stranger_keep_nobody_out_not_even_the_stranger()
    {
        var sockets = new List<Socket>();
        try
        {
            for (var i = 0; i < 300; i++)
                sockets.Add(await OpenAsync(i % 3 == 0 ? "127.0.0.1" : i % 3 == 1 ? "127.0.0.2" : "127.0.0.3"));
            // Half of a request is not one either.
            foreach (var socket in sockets)
                await TrySendAsync(socket, "GET /health HTTP/1.1\r\nHost: local");

            Assert.Contains("200 OK", await HealthAsync("127.0.0.1"), StringComparison.Ordinal);
            Assert.Contains("200 OK", await HealthAsync("127.0.0.4"), StringComparison.Ordinal);
        }
        finally
        {
            sockets.ForEach(socket => socket.Dispose());
        }
    }

    [Fact]
    public async Task Connections_in_use_are_never_cut_and_only_they_keep_others_of_their_address_out()
    {
        var id = await Server.SubmitAsync(TestServer.Quick);
        var listeners = new List<Socket>();
        var idle = new List<Socket>();
        try
        {
            for (var i = 0; i < 40; i++)
            {
                listeners.Add(await OpenAsync("127.0.0.2"));
                await TrySendAsync(listeners[^1], $"GET /v1/videos/{id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
                Assert.Contains("200 OK", await ReadAsync(listeners[^1]), StringComparison.Ordinal);
            }

            // All places of this address are in use.
            using (var refused = await OpenAsync("127.0.0.2"))
                Assert.Equal("", await ReadAsync(refused));
            for (var i = 0; i < 100; i++)
                idle.Add(await OpenAsync("127.0.0.3"));
            Assert.Contains("200 OK", await HealthAsync("127.0.0.4"), StringComparison.Ordinal);

            await Server.PostAsync(new { }, $"/v1/videos/{id}/cancel");
            foreach (var listener in listeners)
            {
                var text = "";
                while (!text.Contains("event: failed", StringComparison.Ordinal))
                {
                    var more = await ReadAsync(listener);
                    Assert.NotEqual("", more);
                    text += more;
                }
            }

            Assert.Contains("200 OK", await HealthAsync("127.0.0.2"), StringComparison.Ordinal);
        }
        finally
        {
            listeners.ForEach(socket => socket.Dispose());
            idle.ForEach(socket => socket.Dispose());
        }
    }

    [Fact]
    public async Task A_connection_that_answered_many_requests_is_idle_between_them()
    {
        using var kept = await OpenAsync("127.0.0.2");
        for (var i = 0; i < 5; i++)
        {
            await TrySendAsync(kept, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
            Assert.Contains("200 OK", await ReadAsync(kept), StringComparison.Ordinal);
        }

        var others = new List<Socket>();
        for (var i = 0; i < 40; i++)
            others.Add(await OpenAsync("127.0.0.2"));
        // It was the oldest without a request, and made room.
        Assert.Equal("", await ReadAsync(kept));
        others.ForEach(socket => socket.Dispose());
    }

    private async Task<string> HealthAsync(string from)
    {
        using var socket = await OpenAsync(from);
        await TrySendAsync(socket, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        return await ReadAsync(socket);
    }

    private async Task<Socket> OpenAsync(string from)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        Assert.SkipWhen(OperatingSystem.IsMacOS(), "this system has one loopback address");
        socket.Bind(new IPEndPoint(IPAddress.Parse(from), 0));
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, Server.Client.BaseAddress!.Port, Cancel);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            // The server hung up before this process saw the connection: reading it gives nothing.
        }

        return socket;
    }

    private static async Task TrySendAsync(Socket socket, string text)
    {
        try
        {
            await socket.SendAsync(System.Text.Encoding.ASCII.GetBytes(text), Cancel);
        }
        catch (SocketException)
        {
            // It made room for another.
        }
    }

    // Empty when the server has hung up.
    private static async Task<string> ReadAsync(Socket socket)
    {
        var buffer = new byte[4096];
        using var most = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        most.CancelAfter(TestServer.Patience);
        try
        {
            return System.Text.Encoding.UTF8.GetString(buffer, 0, await socket.ReceiveAsync(buffer, most.Token));
        }
        catch (SocketException)
        {
            return "";
        }
    }
}
