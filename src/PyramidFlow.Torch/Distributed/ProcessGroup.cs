using System.Numerics;

namespace PyramidFlow.Torch.Distributed;

/// <summary>
/// Processes on one machine or several that reduce values over TCP. Every rank talks to rank zero, which adds in the order of
/// the ranks, so that all processes get identical bits. All processes must make the same calls in the same order.
/// </summary>
public sealed class ProcessGroup : IDisposable
{
    private const int ChunkLength = 1 << 18;
    private static readonly TimeSpan DefaultTimeout = TimeSpan.FromMinutes(5);

    private readonly PeerConnection[] peers;
    private long calls;

    private ProcessGroup(Rendezvous rendezvous, PeerConnection[] peers) =>
        (Rank, WorldSize, LocalRank, this.peers) = (rendezvous.Rank, rendezvous.WorldSize, rendezvous.LocalRank, peers);

    /// <summary>Rank of this process, from 0.</summary>
    public int Rank { get; }

    /// <summary>Number of processes.</summary>
    public int WorldSize { get; }

    /// <summary>Rank among the processes of this machine, from 0.</summary>
    public int LocalRank { get; }

    /// <summary>Connects to the other processes.</summary>
    /// <param name="rendezvous">Rank of this process, and where rank zero listens.</param>
    /// <param name="timeout">How long to wait for the others; null is five minutes.</param>
    /// <param name="cancellationToken">Stops the waiting.</param>
    /// <exception cref="ProcessGroupException">Not all processes connected, or the address cannot be used.</exception>
    public static ProcessGroup Join(Rendezvous rendezvous, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        new(rendezvous, rendezvous.Connect(timeout ?? DefaultTimeout, cancellationToken));

    /// <summary>Replaces the values of every process by their sum over all processes.</summary>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void AllReduce<T>(Span<T> values)
        where T : unmanaged, INumber<T>
    {
        Begin(Collective.AllReduce, values.Length);
        var other = new T[Math.Min(ChunkLength, values.Length)];
        for (var start = 0; start < values.Length; start += ChunkLength)
        {
            var chunk = values[start..Math.Min(start + ChunkLength, values.Length)];
            if (Rank == 0)
            {
                foreach (var peer in peers)
                {
                    peer.Receive(other.AsSpan(0, chunk.Length));
                    Add(chunk, other);
                }
            }
            else
            {
                peers[0].Send<T>(chunk);
            }

            SendFromRankZero(chunk);
        }
    }

    /// <summary>Replaces a tensor of every process by the sum over all processes.</summary>
    /// <param name="values">float32, contiguous, of the same length in every process.</param>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void AllReduce(Tensor values) => OnCpu(values, chunk => AllReduce(chunk.Data<float>()));

    /// <summary>Replaces a tensor of every process by that of rank zero.</summary>
    /// <param name="values">float32, contiguous, of the same length in every process.</param>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void Broadcast(Tensor values) => OnCpu(values, chunk => Broadcast(chunk.Data<float>()));

    /// <summary>Replaces the values of every process by those of rank zero.</summary>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void Broadcast<T>(Span<T> values)
        where T : unmanaged
    {
        Begin(Collective.Broadcast, values.Length);
        SendFromRankZero(values);
    }

    /// <summary>Waits until every process has made this call.</summary>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void Barrier()
    {
        Begin(Collective.Barrier, 0);
        SendFromRankZero<byte>([0]);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var peer in peers)
            peer.Dispose();
    }

    // Rank zero checks that all processes are about to do the same.
    private void Begin(Collective collective, long count)
    {
        calls++;
        foreach (var peer in peers)
        {
            if (Rank == 0)
                peer.ExpectHeader(collective, calls, count);
            else
                peer.SendHeader(collective, calls, count);
        }
    }

    private void SendFromRankZero<T>(Span<T> values)
        where T : unmanaged
    {
        foreach (var peer in peers)
        {
            if (Rank == 0)
                peer.Send<T>(values);
            else
                peer.Receive(values);
        }
    }

    private static void Add<T>(Span<T> sum, ReadOnlySpan<T> values)
        where T : unmanaged, INumber<T>
    {
        for (var i = 0; i < sum.Length; i++)
            sum[i] += values[i];
    }

    private static void OnCpu(Tensor values, Action<Tensor> action)
    {
        const long most = 1 << 26;
        using var noGrad = NoGrad.Begin();
        for (long start = 0; start < values.ElementCount; start += most)
        {
            using var scope = new TensorScope();
            var part = values.Narrow(0, start, Math.Min(most, values.ElementCount - start));
            var onCpu = part.To(Device.Cpu);
            action(onCpu);
            if (values.Device.Type != DeviceType.Cpu)
                part.CopyFrom(onCpu);
        }
    }
}
