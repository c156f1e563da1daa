using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace PyramidFlow.Testing;

/// <summary>What a client asked for.</summary>
/// <param name="Path">Path and query, as sent.</param>
/// <param name="Headers">By name in small letters.</param>
internal sealed record HubRequest(string Path, IReadOnlyDictionary<string, string> Headers)
{
    /// <summary>First byte wanted.</summary>
    public int From => Range is [var from, ..] ? from : 0;

    /// <summary>Last byte wanted; null is the last one of the file.</summary>
    public int? Last => Range is [_, var last] ? last : null;

    private int[] Range => Headers.TryGetValue("range", out var range)
        ? [.. range["bytes=".Length..].Split('-', StringSplitOptions.RemoveEmptyEntries).Select(text => int.Parse(text, System.Globalization.CultureInfo.InvariantCulture))] : [];
}

/// <summary>What the server answers.</summary>
/// <param name="Status">HTTP status.</param>
/// <param name="Body">The body.</param>
internal sealed record HubReply(int Status, byte[] Body)
{
    /// <summary>Further headers.</summary>
    public IReadOnlyList<(string Name, string Value)> Headers { get; init; } = [];

    /// <summary>How long it claims the body is; null tells the truth.</summary>
    public long? Claimed { get; init; }

    /// <summary>Closes the connection after so many bytes of the body.</summary>
    public int? DropAfter { get; init; }

    /// <summary>Says nothing more after the headers and what it sends of the body, until the client goes away.</summary>
    public bool Silent { get; init; }

    /// <summary>Waits before each byte of the body.</summary>
    public TimeSpan Between { get; init; }

    public static HubReply Text(int status, string text = "", params (string, string)[] headers) =>
        new(status, Encoding.UTF8.GetBytes(text)) { Headers = headers };
}

/// <summary>A small HTTP server on this machine that answers as it is told, for clients that have to cope with anything.</summary>
internal sealed class HubServer : IDisposable
{
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource closing = new();
    private readonly Func<HubRequest, HubReply> answer;

    public HubServer(Func<HubRequest, HubReply> answer)
    {
        this.answer = answer;
        listener.Start();
        _ = AcceptAsync();
    }

    /// <summary>Where it listens, without a slash at the end.</summary>
    public string Address => $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";

    /// <summary>Everything that was asked, in order.</summary>
    public ConcurrentQueue<HubRequest> Requests { get; } = [];

    public void Dispose()
    {
        closing.Cancel();
        listener.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!closing.IsCancellationRequested)
        {
            try
            {
                _ = ServeAsync(await listener.AcceptTcpClientAsync(closing.Token));
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                return;
            }
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using (client)
        {
            try
            {
                var stream = client.GetStream();
                if (await ReadAsync(stream) is not { } request)
                    return;
                Requests.Enqueue(request);
                var reply = answer(request);
                var head = new StringBuilder($"HTTP/1.1 {reply.Status} X\r\nConnection: close\r\nContent-Length: {reply.Claimed ?? reply.Body.Length}\r\n");
                foreach (var (name, value) in reply.Headers)
                    head.Append(name).Append(": ").Append(value).Append("\r\n");
                await stream.WriteAsync(Encoding.ASCII.GetBytes(head + "\r\n"), closing.Token);
                foreach (var piece in reply.Body.Take(Math.Min(reply.Body.Length, reply.DropAfter ?? int.MaxValue)).Chunk(reply.Between == TimeSpan.Zero ? int.MaxValue : 1))
                {
                    if (reply.Between > TimeSpan.Zero)
                        await Task.Delay(reply.Between, closing.Token);
                    await stream.WriteAsync(piece, closing.Token);
                }

                while (reply.Silent && await stream.ReadAsync(new byte[1], closing.Token) > 0)
                {
                }
            }
            catch (Exception e) when (e is OperationCanceledException or IOException or ObjectDisposedException)
            {
                // The client went away, or the test has ended.
            }
        }
    }

    private async Task<HubRequest?> ReadAsync(NetworkStream stream)
    {
        var head = new StringBuilder();
        var one = new byte[1];
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
        {
            if (await stream.ReadAsync(one, closing.Token) == 0)
                return null;
            head.Append((char)one[0]);
        }

        var lines = head.ToString().Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
        return new HubRequest(lines[0].Split(' ')[1], lines.Skip(1).Select(line => line.Split(": ", 2)).ToDictionary(pair => pair[0].ToLowerInvariant(), pair => pair[1]));
    }
}
