using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace PyramidFlow.Torch.Distributed;

/// <summary>A connection to another process of the group.</summary>
/// <param name="rank">The other process.</param>
/// <param name="client">Connected; taken over.</param>
internal sealed class PeerConnection(int rank, TcpClient client) : IDisposable
{
    private const int Magic = 0x50464731;

    private readonly NetworkStream stream = client.GetStream();

    public int Rank => rank;

    /// <summary>Wraps a new connection.</summary>
    public static PeerConnection Of(int rank, TcpClient client)
    {
        client.NoDelay = true;

        // A machine that vanished without a word is noticed after a minute.
        client.Client.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        client.Client.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 30);
        client.Client.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
        client.Client.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
        return new PeerConnection(rank, client);
    }

    public void Send<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        try
        {
            stream.Write(MemoryMarshal.AsBytes(values));
        }
        catch (IOException e)
        {
            throw Gone(e);
        }
    }

    public void Receive<T>(Span<T> values)
        where T : unmanaged
    {
        try
        {
            stream.ReadExactly(MemoryMarshal.AsBytes(values));
        }
        catch (IOException e)
        {
            throw Gone(e);
        }
    }

    /// <summary>Says what comes next.</summary>
    public void SendHeader(Collective what, long number, long count) => Send<long>([Magic, (long)what, number, count]);

    /// <summary>Hears what the other process does next, and requires that it is the same as here.</summary>
    /// <exception cref="ProcessGroupException">It is something else.</exception>
    public void ExpectHeader(Collective what, long number, long count)
    {
        Span<long> header = stackalloc long[4];
        Receive(header);
        if (header[0] != Magic)
            throw new ProcessGroupException($"what connected as process {rank} is no pyramidflow of this version: check MASTER_ADDR and MASTER_PORT");
        if (header[1] != (long)what || header[2] != number || header[3] != count)
        {
            throw new ProcessGroupException($"process {rank} is at {(Collective)header[1]} {header[2]} of {header[3]} numbers, this one at {what} {number} of {count}: "
                + "start all processes with the same program, configuration and folder");
        }
    }

    public void Dispose() => client.Dispose();

    private ProcessGroupException Gone(IOException e) =>
        new($"process {rank} is gone: see what it said last, then start all processes again to go on from the last checkpoint", e);
}
