using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace PyramidFlow.Torch.Distributed;

/// <summary>Rank of this process and the address where all processes of a group meet, as torchrun passes them.</summary>
/// <param name="Rank">Rank of this process, from 0 (<c>RANK</c>).</param>
/// <param name="WorldSize">Number of processes (<c>WORLD_SIZE</c>).</param>
/// <param name="LocalRank">Rank among the processes of this machine, from 0 (<c>LOCAL_RANK</c>).</param>
/// <param name="MasterAddress">Address where rank zero listens (<c>MASTER_ADDR</c>).</param>
/// <param name="MasterPort">Port where rank zero listens (<c>MASTER_PORT</c>).</param>
public sealed record Rendezvous(int Rank, int WorldSize, int LocalRank, string MasterAddress, int MasterPort)
{
    /// <summary>Reads the environment variables of torchrun.</summary>
    /// <param name="variable">Returns the value of a variable or null, such as <see cref="Environment.GetEnvironmentVariable(string)"/>.</param>
    /// <returns>Null for a single process.</returns>
    /// <exception cref="ProcessGroupException">A variable is missing or impossible.</exception>
    public static Rendezvous? FromEnvironment(Func<string, string?> variable)
    {
        if (variable("WORLD_SIZE") is null && variable("RANK") is null)
            return null;
        var size = Number("WORLD_SIZE", 1, int.MaxValue);
        var rank = Number("RANK", 0, size - 1);
        if (size == 1)
            return null;
        var local = variable("LOCAL_RANK") is null ? rank : Number("LOCAL_RANK", 0, size - 1);
        return new Rendezvous(rank, size, local, variable("MASTER_ADDR") ?? throw ProcessGroupFault.VariableMissing("MASTER_ADDR"), Number("MASTER_PORT", 1, ushort.MaxValue));

        int Number(string name, int least, int most) => variable(name) is not { } text ? throw ProcessGroupFault.VariableMissing(name)
            : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most ? number
            : throw ProcessGroupFault.VariableOutOfRange(name, text, least, most);
    }

    /// <summary>Connects this process: rank zero to all others, every other rank to rank zero.</summary>
    /// <param name="timeout">How long to wait for the other processes.</param>
    /// <param name="cancellationToken">Stops the waiting.</param>
    /// <returns>Connections in the order of ranks, from 1; of another rank only the one to rank zero.</returns>
    internal PeerConnection[] Connect(TimeSpan timeout, CancellationToken cancellationToken)
    {
        var deadline = Stopwatch.GetTimestamp() + (long)(timeout.TotalSeconds * Stopwatch.Frequency);
        return Rank == 0 ? AcceptAll(deadline, cancellationToken) : [ConnectToRankZero(deadline, cancellationToken)];
    }

    private PeerConnection[] AcceptAll(long deadline, CancellationToken cancellationToken)
    {
        var peers = new PeerConnection?[WorldSize - 1];
        using var listener = Listen();
        Span<int> hello = stackalloc int[2];                                  // rank, world size
        try
        {
            while (peers.Contains(null))
            {
                var client = Accept(listener, deadline, cancellationToken)
                    ?? throw ProcessGroupFault.Absent(peers.Count(peer => peer is null), WorldSize, MasterAddress, MasterPort);
                var peer = PeerConnection.Open(0, client);
                peer.Receive(hello);
                var (rank, size) = (hello[0], hello[1]);
                if (size != WorldSize || rank < 1 || rank >= WorldSize || peers[rank - 1] is not null)
                {
                    peer.Dispose();
                    throw ProcessGroupFault.RankTaken(rank, size, WorldSize);
                }

                peers[rank - 1] = PeerConnection.Open(rank, client);
            }

            return [.. peers.Select(peer => peer!)];
        }
        catch
        {
            foreach (var peer in peers)
                peer?.Dispose();
            throw;
        }
    }

    private TcpListener Listen()
    {
        try
        {
            var listener = new TcpListener(IPAddress.Any, MasterPort);
            listener.Start();
            return listener;
        }
        catch (SocketException e)
        {
            throw ProcessGroupFault.PortInUse(MasterPort, e);
        }
    }

    // Null at the deadline.
    private static TcpClient? Accept(TcpListener listener, long deadline, CancellationToken cancellationToken)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var left = Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), deadline);
        timeout.CancelAfter(left > TimeSpan.Zero ? left : TimeSpan.Zero);
        try
        {
            return listener.AcceptTcpClientAsync(timeout.Token).AsTask().GetAwaiter().GetResult();
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return null;
        }
    }

    private PeerConnection ConnectToRankZero(long deadline, CancellationToken cancellationToken)
    {
        while (true)
        {
            var client = new TcpClient();
            try
            {
                client.Connect(MasterAddress, MasterPort);
                var peer = PeerConnection.Open(0, client);
                peer.Send<int>([Rank, WorldSize]);
                return peer;
            }
            catch (SocketException e)
            {
                client.Dispose();
                if (Stopwatch.GetTimestamp() > deadline)
                    throw ProcessGroupFault.NoAnswer(MasterAddress, MasterPort, e);
            }

            // Rank zero may still be starting.
            if (cancellationToken.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(100)))
                cancellationToken.ThrowIfCancellationRequested();
        }
    }
}

/// <summary>An operation that all processes do together; part of every header, so that processes out of step are detected.</summary>
internal enum Collective
{
    AllReduce = 1,
    Broadcast,
    Barrier,
}

/// <summary>A TCP connection to another process of the group.</summary>
/// <param name="rank">Rank of the other process.</param>
/// <param name="client">A connected client; this object owns it.</param>
internal sealed class PeerConnection(int rank, TcpClient client) : IDisposable
{
    private const int Magic = 0x50464731;

    private readonly NetworkStream stream = client.GetStream();

    /// <summary>Wraps a new connection.</summary>
    public static PeerConnection Open(int rank, TcpClient client)
    {
        client.NoDelay = true;

        // Detects within a minute that the other machine has vanished.
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
            throw Disconnected(e);
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
            throw Disconnected(e);
        }
    }

    /// <summary>Announces the next collective.</summary>
    public void SendHeader(Collective collective, long number, long count) => Send<long>([Magic, (long)collective, number, count]);

    /// <summary>Receives what the other process does next, and requires that it is the same as here.</summary>
    /// <exception cref="ProcessGroupException">It is something else.</exception>
    public void ExpectHeader(Collective collective, long number, long count)
    {
        Span<long> header = stackalloc long[4];
        Receive(header);
        if (header[0] != Magic)
            throw ProcessGroupFault.Stranger(rank);
        if (header[1] != (long)collective || header[2] != number || header[3] != count)
            throw ProcessGroupFault.OutOfStep(rank, $"{(Collective)header[1]} {header[2]} of {header[3]} numbers", $"{collective} {number} of {count}");
    }

    public void Dispose() => client.Dispose();

    private ProcessGroupException Disconnected(IOException e) => ProcessGroupFault.Gone(rank, e);
}
