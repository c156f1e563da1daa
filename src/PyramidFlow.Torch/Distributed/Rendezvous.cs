using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace PyramidFlow.Torch.Distributed;

/// <summary>Which of several processes this is, as torchrun says it in environment variables.</summary>
/// <param name="Rank">This process, from 0 (<c>RANK</c>).</param>
/// <param name="Size">Number of processes (<c>WORLD_SIZE</c>).</param>
/// <param name="LocalRank">This process among those of its machine, from 0 (<c>LOCAL_RANK</c>).</param>
/// <param name="Address">Where the first process listens (<c>MASTER_ADDR</c>).</param>
/// <param name="Port">Its port (<c>MASTER_PORT</c>).</param>
public sealed record ProcessPlace(int Rank, int Size, int LocalRank, string Address, int Port)
{
    /// <summary>Reads the variables.</summary>
    /// <param name="variable">Gives a variable's value or null, such as <see cref="Environment.GetEnvironmentVariable(string)"/>.</param>
    /// <returns>Null where there is one process only.</returns>
    /// <exception cref="ProcessGroupException">A variable is missing or impossible.</exception>
    public static ProcessPlace? Of(Func<string, string?> variable)
    {
        if (variable("WORLD_SIZE") is null && variable("RANK") is null)
            return null;
        var size = Number("WORLD_SIZE", 1, int.MaxValue);
        var rank = Number("RANK", 0, size - 1);
        if (size == 1)
            return null;
        var local = variable("LOCAL_RANK") is null ? rank : Number("LOCAL_RANK", 0, size - 1);
        return new ProcessPlace(rank, size, local, variable("MASTER_ADDR") ?? throw Missing("MASTER_ADDR"), Number("MASTER_PORT", 1, ushort.MaxValue));

        int Number(string name, int least, int most) => variable(name) is not { } text ? throw Missing(name)
            : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most ? number
            : throw new ProcessGroupException($"{name} is '{text}': it must be {least} to {most}; start several processes with pyramidflow launch or torchrun");
    }

    private static ProcessGroupException Missing(string name) =>
        new($"{name} is not set, though others of its kind are: start several processes with pyramidflow launch or torchrun");
}

/// <summary>How the processes of a group find each other.</summary>
internal static class Meeting
{
    /// <summary>Waits for all others to come, as the first process.</summary>
    public static PeerConnection[] Welcome(ProcessPlace place, long until, CancellationToken cancel)
    {
        var peers = new PeerConnection?[place.Size - 1];
        using var listener = Listen(place);
        Span<int> rank = stackalloc int[2];
        try
        {
            while (peers.Contains(null))
            {
                var client = Wait(until, cancel, listener.AcceptTcpClientAsync)
                    ?? throw new ProcessGroupException($"{peers.Count(peer => peer is null)} of {place.Size} processes did not come to {place.Address}:{place.Port}: start as many as WORLD_SIZE says");
                var peer = PeerConnection.Of(0, client);
                peer.Receive(rank);
                if (rank[1] != place.Size || rank[0] < 1 || rank[0] >= place.Size || peers[rank[0] - 1] is not null)
                {
                    peer.Dispose();
                    throw new ProcessGroupException($"a process came as rank {rank[0]} of {rank[1]}, which is taken or not one of {place.Size}: give every process a RANK of its own and the same WORLD_SIZE");
                }

                peers[rank[0] - 1] = PeerConnection.Of(rank[0], client);
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

    private static TcpListener Listen(ProcessPlace place)
    {
        try
        {
            var listener = new TcpListener(IPAddress.Any, place.Port);
            listener.Start();
            return listener;
        }
        catch (SocketException e)
        {
            throw new ProcessGroupException($"cannot listen on port {place.Port} ({e.Message}): set MASTER_PORT to a free one", e);
        }
    }

    /// <summary>Goes to the first process.</summary>
    public static PeerConnection Connect(ProcessPlace place, long until, CancellationToken cancel)
    {
        while (true)
        {
            var client = new TcpClient();
            try
            {
                client.Connect(place.Address, place.Port);
                var peer = PeerConnection.Of(0, client);
                peer.Send<int>([place.Rank, place.Size]);
                return peer;
            }
            catch (SocketException e)
            {
                client.Dispose();
                if (Stopwatch.GetTimestamp() > until)
                    throw new ProcessGroupException($"process 0 does not answer at {place.Address}:{place.Port} ({e.Message}): start it too, and check MASTER_ADDR and MASTER_PORT", e);
            }

            // The first process may only just be starting.
            if (cancel.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(100)))
                cancel.ThrowIfCancellationRequested();
        }
    }

    private static TcpClient? Wait(long until, CancellationToken cancel, Func<CancellationToken, ValueTask<TcpClient>> accept)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var left = Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), until);
        patience.CancelAfter(left > TimeSpan.Zero ? left : TimeSpan.Zero);
        try
        {
            return accept(patience.Token).AsTask().GetAwaiter().GetResult();
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return null;
        }
    }
}

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

/// <summary>What all processes do together; sent along, so that processes that have come apart are told.</summary>
internal enum Collective
{
    Sum = 1,
    Broadcast,
    Barrier,
}
