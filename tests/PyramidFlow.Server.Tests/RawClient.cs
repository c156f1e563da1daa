using System.Net.Sockets;
using System.Text;

namespace PyramidFlow.Server.Tests;

/// <summary>A client that sends what it likes, byte by byte, as no HTTP library would.</summary>
internal sealed class RawClient : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);
    private readonly TcpClient socket = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static async Task<RawClient> OpenAsync(TestServer server)
    {
        var client = new RawClient();
        await client.socket.ConnectAsync(server.Client.BaseAddress!.Host, server.Client.BaseAddress.Port, Cancel);
        return client;
    }

    public Task SendAsync(string text) => SendAsync(Encoding.Latin1.GetBytes(text));

    public async Task SendAsync(ReadOnlyMemory<byte> bytes) => await socket.GetStream().WriteAsync(bytes, Cancel);

    /// <summary>The beginning of the answer; empty when the server hung up without one.</summary>
    public async Task<string> AnswerAsync()
    {
        using var most = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        most.CancelAfter(Patience);
        var buffer = new byte[4096];
        var count = await socket.GetStream().ReadAsync(buffer, most.Token);
        return Encoding.Latin1.GetString(buffer, 0, count);
    }

    public void Dispose() => socket.Dispose();
}
