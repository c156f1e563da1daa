using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace PyramidFlow.Torch.Distributed;

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
