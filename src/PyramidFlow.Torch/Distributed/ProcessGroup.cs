using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;

namespace PyramidFlow.Torch.Distributed;

/// <summary>
/// Processes on one machine or several that exchange tensors, over c10d of libtorch: Gloo over TCP, or NCCL between GPUs. All
/// processes make the same calls in the same order, from one thread at a time.
/// </summary>
/// <remarks>
/// Sums are added in the order of the ranks, whatever the backend: all processes get identical bits, and the same bits as one process
/// that adds the same parts in that order.
/// </remarks>
public sealed unsafe class ProcessGroup : IDisposable
{
    private const int GlooBit = 2;
    private const int NcclBit = 4;

    // Elements that are reduced at a time: the next part is on its way while one is added up.
    private const long PartLength = 1 << 22;

    // Below this many bytes every process sends everything to all others: one round in place of two.
    private const long SmallBytes = 1 << 15;

    private readonly Rendezvous rendezvous;
    private readonly GroupOptions options;
    private readonly KeyValueStore store;
    private readonly RollCall roll;
    private readonly Agreement agreement;
    private readonly ProcessGroup? whole;                                        // the group that this one is a part of
    private readonly Dictionary<string, ProcessGroup> parts = [];
    private readonly long[] sent;
    private readonly long[] received;
    private nint handle;
    private int calls;
    private long bytesSent;
    private string call = "the start";

    private ProcessGroup(Rendezvous rendezvous, GroupOptions options, KeyValueStore store, KeyValueStore watched)
    {
        (this.rendezvous, this.options, this.store) = (rendezvous, options, store);
        (sent, received) = (new long[WorldSize], new long[WorldSize]);
        roll = new RollCall(watched, rendezvous, () => call, () => Stops?.Look());
        agreement = new Agreement(rendezvous, options, store, roll);
        Stops = new CommonStop(rendezvous, options, roll);
    }

    private ProcessGroup(ProcessGroup whole, int rank, int size)
    {
        (this.whole, rendezvous, options, store, roll) = (whole, whole.rendezvous with { Rank = rank, WorldSize = size }, whole.options, whole.store, whole.roll);
        (sent, received) = (new long[size], new long[size]);
        (agreement, Stops) = (whole.agreement, whole.Stops);
    }

    /// <summary>Rank of this process, from 0.</summary>
    public int Rank => rendezvous.Rank;

    /// <summary>Number of processes.</summary>
    public int WorldSize => rendezvous.WorldSize;

    /// <summary>Rank among the processes of this machine, from 0.</summary>
    public int LocalRank => rendezvous.LocalRank;

    /// <summary>Number of processes on this machine, which share its threads.</summary>
    public int LocalSize => rendezvous.LocalSize;

    /// <summary>Bytes of tensors that this process has sent to others, in this group and its parts.</summary>
    public long BytesSent => bytesSent + parts.Values.Sum(part => part.BytesSent);

    /// <summary>Runs of all processes, which any of them can stop.</summary>
    internal CommonStop Stops { get; }

    /// <summary>Longest time that any wait for another process takes.</summary>
    internal TimeSpan Limit => options.Limit;

    /// <summary>Whether this build has NCCL.</summary>
    public static bool HasNccl => (Native.pf_distributed_parts() & NcclBit) != 0;

    /// <summary>Meets the other processes, makes sure that all run the same program, and connects to them.</summary>
    /// <param name="rendezvous">Rank of this process, and where the processes meet.</param>
    /// <param name="options">Limit of waits, and backend; null is Gloo and ten minutes.</param>
    /// <param name="cancellationToken">Stops the waiting.</param>
    /// <exception cref="ProcessGroupException">Not all processes came, they differ, or the address cannot be used.</exception>
    public static ProcessGroup Join(Rendezvous rendezvous, GroupOptions? options = null, CancellationToken cancellationToken = default)
    {
        options ??= new GroupOptions();
        TorchRuntime.EnsureStarted();
        if ((Native.pf_distributed_parts() & (options.UseNccl ? NcclBit : GlooBit)) == 0)
            throw ProcessGroupFault.BackendMissing(options.UseNccl ? "NCCL" : "Gloo");
        KeyValueStore? store = null, watched = null;
        ProcessGroup? group = null;
        try
        {
            store = rendezvous.OpenStore(true, options, cancellationToken);
            watched = rendezvous.OpenStore(false, options, cancellationToken);
            group = new ProcessGroup(rendezvous, options, store, watched);
            group.Connect(cancellationToken);
            return group;
        }
        catch (Exception e)
        {
            // Both stores may be freed twice: the group owns them once it is there.
            group?.Record(e);
            group?.Dispose();
            watched?.Dispose();
            store?.Dispose();
            throw;
        }
    }

    /// <summary>
    /// A group of some of these processes, which have other numbers in it: 0, 1, ... in the order given. It belongs to this group, and is connected when all its
    /// processes have asked for it the first time. What all processes agree on is a matter of the whole group.
    /// </summary>
    /// <param name="ranks">Ranks, ascending, with that of this process; the same in all of them.</param>
    /// <exception cref="ProcessGroupException">A process does not come within the limit, or is gone.</exception>
    internal ProcessGroup Part(IReadOnlyList<int> ranks)
    {
        var rank = ranks.Index().Where(each => each.Item == Rank).Select(each => each.Index).DefaultIfEmpty(-1).Single();
        if (whole is not null || rank < 0)
            throw new ArgumentException($"processes {string.Join(", ", ranks)} are no part of a group with process {Rank}", nameof(ranks));
        var name = string.Join('-', ranks);
        if (parts.TryGetValue(name, out var known))
            return known;
        Call = $"the start of the part {name}";
        var part = new ProcessGroup(this, rank, ranks.Count);
        part.Open(name);
        return parts[name] = part;
    }

    /// <summary>Makes sure that all processes say the same.</summary>
    /// <param name="facts">Names and values, such as a key of the configuration; the names are the same everywhere.</param>
    /// <param name="cancellationToken">Stops the wait for the others.</param>
    /// <exception cref="ProcessGroupException">A process says something else; it names the first fact that differs.</exception>
    public void Agree(IEnumerable<(string Name, string Value)> facts, CancellationToken cancellationToken = default) => agreement.Compare(facts, cancellationToken);

    /// <summary>Tells the other processes why this one ends, before it does.</summary>
    /// <param name="error">The error that ends it.</param>
    /// <returns>False, for use in an exception filter.</returns>
    public bool Record(Exception error)
    {
        // What another process caused is recorded already.
        if (error is not ProcessGroupException { Code: "process_gone" or "process_ended" or "disconnected" } and not OperationCanceledException)
            roll.Record(error);
        return false;
    }

    /// <summary>Replaces the values of every process by their sum over all processes.</summary>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void AllReduce<T>(Span<T> values)
        where T : unmanaged, INumber<T>
    {
        using var scope = new TensorScope();
        var own = OfBytes(values);
        var all = GatherSmall(own, "AllReduce");
        values.Clear();
        foreach (var part in all)
        {
            var other = MemoryMarshal.Cast<byte, T>(part.Data<byte>());
            for (var i = 0; i < values.Length; i++)
                values[i] += other[i];
        }
    }

    /// <summary>Replaces a tensor of every process by the sum over all processes.</summary>
    /// <param name="values">Contiguous, of the same shape in every process.</param>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void AllReduce(Tensor values)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var flat = values.View(values.ElementCount);
        if (flat.ElementCount * flat.Type.Size() <= SmallBytes)
        {
            flat.CopyFrom(Sum(GatherSmall(Here(flat), "AllReduce")));
            return;
        }

        var (start, length) = OwnShare(flat);
        var share = flat.Narrow(0, start, length);
        ReduceScatter(flat, share);
        AllGather(share, flat);
    }

    /// <summary>Adds up a vector over all processes; each one receives the sum of its share, as <see cref="VectorDivision"/> divides it.</summary>
    /// <param name="values">Contiguous vector of the same length in every process.</param>
    /// <param name="share">Receives the sum; may be the share of <paramref name="values"/> itself, whose other elements stay as they are.</param>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void ReduceScatter(Tensor values, Tensor share)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        RequireShare(values, share);
        Incoming? coming = null;
        foreach (var piece in Pieces(values.ElementCount))
        {
            var next = Scatter(piece, values, share);
            if (coming is not null)
                Add(coming);
            coming = next;
        }

        if (coming is not null)
            Add(coming);
    }

    /// <summary>Completes a vector of every process from the shares of all, as <see cref="VectorDivision"/> divides it.</summary>
    /// <param name="share">Contiguous share of this process; may be a part of <paramref name="values"/>.</param>
    /// <param name="values">Contiguous vector to fill, of the same length in every process.</param>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void AllGather(Tensor share, Tensor values)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        RequireShare(values, share);
        foreach (var piece in Pieces(values.ElementCount))
        {
            using var inner = new TensorScope();
            var places = piece.Select(range => values.Narrow(0, range.Start, range.Length)).ToArray();
            var own = Here(share.Narrow(0, piece[Rank].Start - OwnShare(values).Start, piece[Rank].Length));
            var arriving = places.Select(place => IsHere(place) ? place : Tensor.Empty(place.Shape, place.Type)).ToArray();
            Begin("AllGather", values);
            StartExchange(arriving, [.. Enumerable.Repeat(own, WorldSize)]).Wait();
            foreach (var (arrived, place) in arriving.Zip(places))
                Return(arrived, place);
        }
    }

    /// <summary>Brings a vector that is divided among the processes to rank zero, piece by piece and in order.</summary>
    /// <param name="share">Contiguous share of this process.</param>
    /// <param name="count">Length of the vector.</param>
    /// <param name="take">Called on rank zero with the first element of each piece and the piece, which is on the CPU unless NCCL moves it.</param>
    /// <exception cref="ProcessGroupException">A process is gone.</exception>
    public void Collect(Tensor share, long count, Action<long, Tensor> take)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var rank in Enumerable.Range(0, WorldSize).Where(rank => Rank == 0 || rank == Rank))
        {
            var (first, length) = VectorDivision.Share(count, WorldSize, rank);
            for (long start = 0; start < length; start += PartLength)
            {
                using var scope = new TensorScope();
                var size = Math.Min(PartLength, length - start);
                var piece = rank == Rank ? share.Narrow(0, start, size) : Tensor.Empty([size], share.Type, MovingDevice);
                if (Rank > 0)
                    Send(options.UseNccl ? piece.To(MovingDevice) : piece, 0).Wait();
                else if (rank > 0)
                    Receive(piece, rank).Wait();
                if (Rank == 0)
                    take(first + start, piece);
            }
        }
    }

    /// <summary>Replaces a tensor of every process by that of one of them.</summary>
    /// <param name="values">Contiguous, of the same shape and type in every process.</param>
    /// <param name="root">Rank whose tensor all receive.</param>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void Broadcast(Tensor values, int root = 0)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var here = Here(values);
        Begin("Broadcast", here);

        // A binomial tree: in each round, all that have the tensor send it on.
        var place = (Rank - root + WorldSize) % WorldSize;
        if (place > 0)
            Receive(here, RankAt(place - (1 << BitOperations.Log2((uint)place))), calls).Wait();
        foreach (var send in BroadcastTargets(place, WorldSize).Select(target => Send(here, RankAt(target), calls)).ToList())
            send.Wait();
        Return(here, values);

        int RankAt(int position) => (position + root) % WorldSize;
    }

    /// <summary>The places to which a broadcast is sent on from a place; the root has place 0.</summary>
    internal static IEnumerable<int> BroadcastTargets(int place, int size)
    {
        for (var step = place == 0 ? 1 : 2 << BitOperations.Log2((uint)place); place + step < size; step *= 2)
            yield return place + step;
    }

    /// <summary>Replaces the values of every process by those of rank zero.</summary>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void Broadcast<T>(Span<T> values)
        where T : unmanaged
    {
        using var scope = new TensorScope();
        var own = OfBytes(values);
        Broadcast(own);
        own.Data<byte>().CopyTo(MemoryMarshal.AsBytes(values));
    }

    /// <summary>Sends a tensor to another process, which receives it with <see cref="Receive(Tensor, int)"/>.</summary>
    /// <param name="values">Contiguous; unchanged until the transfer is waited for.</param>
    /// <param name="to">Rank of the other process.</param>
    /// <returns>The transfer under way. Transfers between two processes arrive in the order in which they were sent.</returns>
    /// <exception cref="ProcessGroupException">The other process is gone.</exception>
    public Transfers Send(Tensor values, int to)
    {
        Call = string.Create(CultureInfo.InvariantCulture, $"Send {++sent[to]} to process {to}");
        return Send(Here(values), to, Numbered(sent[to]));
    }

    /// <summary>Receives a tensor that another process sends with <see cref="Send(Tensor, int)"/>.</summary>
    /// <param name="values">Contiguous, on the CPU unless NCCL moves it, of the same shape and type as what is sent.</param>
    /// <param name="from">Rank of the other process.</param>
    /// <exception cref="ProcessGroupException">The other process is gone.</exception>
    public Transfers Receive(Tensor values, int from)
    {
        Call = string.Create(CultureInfo.InvariantCulture, $"Receive {++received[from]} from process {from}");
        return Receive(values, from, Numbered(received[from]));
    }

    /// <summary>Sends one tensor to each process and receives one from each.</summary>
    /// <param name="outputs">A tensor for each rank that receives its values: contiguous, of the shape and type that the rank sends. Null receives nothing.</param>
    /// <param name="inputs">A tensor for each rank that is sent to it: contiguous. Null sends nothing. That of the own rank is copied.</param>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public Transfers Exchange(IReadOnlyList<Tensor?> outputs, IReadOnlyList<Tensor?> inputs)
    {
        Call = string.Create(CultureInfo.InvariantCulture, $"Exchange {++calls}");
        return StartExchange(outputs, inputs);
    }

    /// <summary>Waits until every process has made this call.</summary>
    /// <exception cref="ProcessGroupException">A process is gone, or makes another call.</exception>
    public void Barrier()
    {
        using var scope = new TensorScope();
        GatherSmall(Tensor.Zeros([1], ElementType.UInt8), "Barrier");
    }

    /// <summary>The error behind a failure of libtorch in a transfer.</summary>
    internal ProcessGroupException Explain(TorchException cause) => roll.Explain(cause);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (whole is not null)
            return;
        roll.Dispose();
        foreach (var group in parts.Values.Append(this))
        {
            if (group.handle != 0)
                Native.pf_group_free(group.handle);
            group.handle = 0;
        }

        store.Dispose();
    }

    private void Connect(CancellationToken cancellationToken)
    {
        agreement.Meet(cancellationToken);
        agreement.Compare(
            [
                ("program", TorchRuntime.ProgramVersion(typeof(ProcessGroup).Assembly)),
                ("libtorch", TorchRuntime.Version),
                ("backend", options.UseNccl ? "NCCL" : "Gloo"),
            ],
            cancellationToken);
        Open("all");
    }

    private void Open(string name)
    {
        handle = Native.pf_group_new(store.Handle, name, options.UseNccl ? 1 : 0, Rank, WorldSize, rendezvous.Address, (long)options.Limit.TotalMilliseconds);
        if (handle == 0)
            throw roll.Explain(Native.Error("the connections between the processes"));
    }

    // Starts to bring together what all ranks have of a piece of this one's share.
    private Incoming Scatter(IReadOnlyList<(long Start, long Length)> piece, Tensor values, Tensor share)
    {
        Tensor[] leaving = [.. piece.Select(range => Here(values.Narrow(0, range.Start, range.Length)))];
        Tensor[] parts = [.. Enumerable.Range(0, WorldSize).Select(_ => Tensor.Empty(leaving[Rank].Shape, values.Type, leaving[Rank].Device))];
        Begin("ReduceScatter", values);
        return new Incoming(share.Narrow(0, piece[Rank].Start - OwnShare(values).Start, piece[Rank].Length), leaving, parts, StartExchange(parts, leaving));
    }

    private static void Add(Incoming incoming)
    {
        incoming.Transfers.Wait();
        using (var sum = Sum(incoming.Parts))
            incoming.Target.CopyFrom(sum);
        foreach (var tensor in (Tensor[])[.. incoming.Parts, .. incoming.Leaving])
            tensor.Dispose();
    }

    private Tensor[] GatherSmall(Tensor own, string what)
    {
        var parts = Enumerable.Range(0, WorldSize).Select(_ => Tensor.Empty(own.Shape, own.Type, own.Device)).ToArray();
        Begin(what, own);
        StartExchange(parts, [.. Enumerable.Repeat(own, WorldSize)]).Wait();
        return parts;
    }

    private static Tensor Sum(Tensor[] parts)
    {
        using var scope = new TensorScope();
        var sum = parts[0].Clone();
        foreach (var part in parts.Skip(1))
            sum.AddInPlace(part);
        return scope.Keep(sum);
    }

    private (long Start, long Length) OwnShare(Tensor vector) => VectorDivision.Share(vector.ElementCount, WorldSize, Rank);

    // A vector in several steps, each with a range of the share of every rank.
    private IEnumerable<(long Start, long Length)[]> Pieces(long count)
    {
        var shares = Enumerable.Range(0, WorldSize).Select(rank => VectorDivision.Share(count, WorldSize, rank)).ToArray();
        var length = PartLength / WorldSize;
        for (long start = 0; start < shares.Max(share => share.Length); start += length)
            yield return [.. shares.Select(share => (share.Start + Math.Min(start, share.Length), Math.Clamp(share.Length - start, 0, length)))];
    }

    private void RequireShare(Tensor values, Tensor share)
    {
        if (share.ElementCount != OwnShare(values).Length || share.Type != values.Type)
            throw new ArgumentException($"a share of {share.ElementCount} elements does not belong to process {Rank} of {WorldSize} and a vector of {values.ElementCount}", nameof(share));
    }

    // What the roll call says of this process; a part speaks for the whole group.
    private string Call
    {
        set => (whole ?? this).call = whole is null ? value : $"{value} in a part of {WorldSize}";
    }

    private void Begin(string what, Tensor values) =>
        Call = string.Create(CultureInfo.InvariantCulture, $"{what} {++calls} of {values.ElementCount * values.Type.Size()} bytes");

    // Gloo moves the memory of the CPU only.
    private Tensor Here(Tensor values) => IsHere(values) ? values : values.To(Device.Cpu);

    private bool IsHere(Tensor values) => options.UseNccl || values.Device.Type == DeviceType.Cpu;

    /// <summary>Where tensors lie that are exchanged: NCCL moves the memory of GPUs only.</summary>
    internal Device MovingDevice => options.UseNccl ? new Device(DeviceType.Cuda, LocalRank) : Device.Cpu;

    private static void Return(Tensor here, Tensor values)
    {
        if (!ReferenceEquals(here, values))
            values.CopyFrom(here);
    }

    private static Tensor OfBytes<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        var bytes = MemoryMarshal.AsBytes(values);
        var tensor = Tensor.Empty([bytes.Length], ElementType.UInt8);
        bytes.CopyTo(tensor.Data<byte>());
        return tensor;
    }

    // Transfers between two processes have numbers apart from those of the calls of all.
    private static int Numbered(long transfer) => (int)((transfer & 0x3fffffff) | 0x40000000);

    private Transfers StartExchange(IReadOnlyList<Tensor?> outputs, IReadOnlyList<Tensor?> inputs)
    {
        var (to, from) = (new nint[WorldSize], new nint[WorldSize]);
        for (var rank = 0; rank < WorldSize; rank++)
        {
            RequireContiguous(outputs[rank]);
            RequireContiguous(inputs[rank]);
            (from[rank], to[rank]) = (outputs[rank]?.Handle ?? 0, inputs[rank]?.Handle ?? 0);
            if (rank != Rank && inputs[rank] is { } input)
                bytesSent += input.ElementCount * input.Type.Size();
        }

        fixed (nint* receive = from, send = to)
            return new Transfers(this, Native.pf_group_exchange(handle, Rank, receive, send, WorldSize, calls));
    }

    private Transfers Send(Tensor values, int to, int number)
    {
        RequireContiguous(values);
        bytesSent += values.ElementCount * values.Type.Size();
        return new Transfers(this, Native.pf_group_transfer(handle, values.Handle, to, 0, number));
    }

    private Transfers Receive(Tensor values, int from, int number)
    {
        RequireContiguous(values);
        return new Transfers(this, Native.pf_group_transfer(handle, values.Handle, from, 1, number));
    }

    private static void RequireContiguous(Tensor? values)
    {
        if (values is { IsContiguous: false })
            throw new ArgumentException($"{values} is not contiguous: only contiguous tensors move between processes", nameof(values));
    }

    // A piece of a share that is being added up: where the sum goes, what leaves for all ranks, and what comes from them.
    private sealed record Incoming(Tensor Target, Tensor[] Leaving, Tensor[] Parts, Transfers Transfers);
}
