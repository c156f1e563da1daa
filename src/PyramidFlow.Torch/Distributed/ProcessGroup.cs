using System.Diagnostics;
using System.Numerics;

namespace PyramidFlow.Torch.Distributed;

/// <summary>
/// Several processes, on one machine or more, that add numbers up together over TCP. All talk to the first one, which adds
/// in the order of the ranks, so that every process gets the same bits. All must make the same calls in the same order.
/// </summary>
public sealed class ProcessGroup : IDisposable
{
    private const int ChunkLength = 1 << 18;

    private readonly PeerConnection[] peers;
    private long calls;

    private ProcessGroup(ProcessPlace place, PeerConnection[] peers) =>
        (Rank, Size, LocalRank, this.peers) = (place.Rank, place.Size, place.LocalRank, peers);

    /// <summary>This process, from 0.</summary>
    public int Rank { get; }

    /// <summary>Number of processes.</summary>
    public int Size { get; }

    /// <summary>This process among those of its machine, from 0.</summary>
    public int LocalRank { get; }

    /// <summary>Meets the other processes.</summary>
    /// <param name="place">Which process this is, and where the first one listens.</param>
    /// <param name="patience">How long to wait for the others; null is five minutes.</param>
    /// <param name="cancel">Stops the waiting.</param>
    /// <exception cref="ProcessGroupException">Not all came, or the address cannot be used.</exception>
    public static ProcessGroup Join(ProcessPlace place, TimeSpan? patience = null, CancellationToken cancel = default)
    {
        var until = Stopwatch.GetTimestamp() + (long)((patience ?? TimeSpan.FromMinutes(5)).TotalSeconds * Stopwatch.Frequency);
        return new ProcessGroup(place,
            place.Rank == 0 ? Meeting.Welcome(place, until, cancel) : [Meeting.Connect(place, until, cancel)]);
    }

    /// <summary>Sets every process's numbers to the sum of all processes'.</summary>
    /// <exception cref="ProcessGroupException">A process is gone, or does something else.</exception>
    public void Sum<T>(Span<T> values)
        where T : unmanaged, INumber<T>
    {
        Begin(Collective.Sum, values.Length);
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

            Spread(chunk);
        }
    }

    /// <summary>Sets a tensor of every process to the sum of all processes'.</summary>
    /// <param name="values">float32, contiguous, of the same length everywhere.</param>
    /// <exception cref="ProcessGroupException">A process is gone, or does something else.</exception>
    public void Sum(Tensor values) => OnCpu(values, chunk => Sum(chunk.Data<float>()));

    /// <summary>Sets a tensor of every process to the first process's.</summary>
    /// <param name="values">float32, contiguous, of the same length everywhere.</param>
    /// <exception cref="ProcessGroupException">A process is gone, or does something else.</exception>
    public void Broadcast(Tensor values) => OnCpu(values, chunk => Broadcast(chunk.Data<float>()));

    /// <summary>Sets every process's numbers to the first process's.</summary>
    /// <exception cref="ProcessGroupException">A process is gone, or does something else.</exception>
    public void Broadcast<T>(Span<T> values)
        where T : unmanaged
    {
        Begin(Collective.Broadcast, values.Length);
        Spread(values);
    }

    /// <summary>Waits until every process is here.</summary>
    /// <exception cref="ProcessGroupException">A process is gone, or does something else.</exception>
    public void Barrier()
    {
        Begin(Collective.Barrier, 0);
        Spread<byte>([0]);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var peer in peers)
            peer.Dispose();
    }

    // The first process hears from all what they are about to do.
    private void Begin(Collective what, long count)
    {
        calls++;
        foreach (var peer in peers)
        {
            if (Rank == 0)
                peer.ExpectHeader(what, calls, count);
            else
                peer.SendHeader(what, calls, count);
        }
    }

    private void Spread<T>(Span<T> values)
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

/// <summary>Processes that cannot work together any more; the message says which and what would do.</summary>
public sealed class ProcessGroupException : Exception
{
    /// <summary>With the whole sentence.</summary>
    public ProcessGroupException(string message)
        : base(message)
    {
    }

    /// <summary>With the whole sentence and what lies behind it.</summary>
    public ProcessGroupException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
