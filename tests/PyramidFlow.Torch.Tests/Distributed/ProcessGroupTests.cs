using System.Net;
using System.Net.Sockets;
using System.Text;
using PyramidFlow.Testing;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Torch.Tests.Distributed;

public sealed class ProcessGroupTests : IDisposable
{
    private static readonly GroupOptions Patient = new() { Limit = TimeSpan.FromMinutes(2) };
    private static readonly GroupOptions Impatient = new() { Limit = TimeSpan.FromSeconds(2) };

    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    // The last two are reduced in several parts, and in parts that do not divide.
    [Theory]
    [InlineData(2, 7)]
    [InlineData(4, 300_000)]
    [InlineData(2, 9_000_001)]
    [InlineData(3, 4_300_000)]
    public async Task All_get_the_sum_in_the_order_of_the_ranks_to_the_bit(int size, int count)
    {
        var sums = await TogetherAsync(size, Patient, group =>
        {
            using var scope = new TensorScope();
            var values = Random(group.Rank, count);
            group.AllReduce(values);
            double[] few = [group.Rank, 1];
            group.AllReduce<double>(few);
            Assert.Equal([size * (size - 1) / 2, size], few);
            return values.ToArray<float>();
        });

        var exact = SumOf(size, count);
        Assert.All(sums, sum => Assert.True(exact.AsSpan().SequenceEqual(sum)));
    }

    // Some shares are empty, some are reduced in several pieces.
    [Theory]
    [InlineData(4, 3)]
    [InlineData(2, 7)]
    [InlineData(3, 4_300_001)]
    [InlineData(2, 9_000_001)]
    public async Task Shares_are_added_up_gathered_and_collected(int size, int count)
    {
        var exact = SumOf(size, count);
        await TogetherAsync(size, Patient, group =>
        {
            using var inner = new TensorScope();
            var (start, length) = VectorDivision.Share(count, size, group.Rank);
            var values = Random(group.Rank, count);
            var apart = Tensor.Empty([length]);
            group.ReduceScatter(values, apart);
            Assert.True(Random(group.Rank, count).ToArray<float>().AsSpan().SequenceEqual(values.ToArray<float>()));
            group.ReduceScatter(values, values.Narrow(0, start, length));
            Assert.True(exact.AsSpan((int)start, (int)length).SequenceEqual(apart.ToArray<float>()));
            Assert.True(exact.AsSpan((int)start, (int)length).SequenceEqual(values.Narrow(0, start, length).ToArray<float>()));

            var before = group.BytesSent;
            var half = Tensor.Zeros([count], ElementType.BFloat16);
            group.AllGather(apart.To(ElementType.BFloat16), half);
            Assert.True(Tensor.From(exact).To(ElementType.BFloat16).To(ElementType.Float32).ToArray<float>().AsSpan().SequenceEqual(half.To(ElementType.Float32).ToArray<float>()));
            Assert.Equal(2 * length * (size - 1), group.BytesSent - before);
            group.AllGather(values.Narrow(0, start, length), values);
            Assert.True(exact.AsSpan().SequenceEqual(values.ToArray<float>()));

            var taken = new List<float>();
            group.Collect(apart, count, (first, piece) =>
            {
                Assert.Equal(taken.Count, first);
                taken.AddRange(piece.ToArray<float>());
            });
            Assert.True((group.Rank == 0 ? exact : []).AsSpan().SequenceEqual(taken.ToArray()));
            Assert.Throws<ArgumentException>(() => group.AllGather(Tensor.Empty([length + 1]), values));
            return 0;
        });
    }

    [Theory]
    [InlineData(2, 0)]
    [InlineData(3, 2)]
    [InlineData(5, 1)]
    [InlineData(6, 0)]
    public async Task The_values_of_one_process_are_handed_to_all(int size, int root)
    {
        var values = await TogetherAsync(size, Patient, group =>
        {
            using var scope = new TensorScope();
            var own = Tensor.Full([3], group.Rank + 1, ElementType.BFloat16);
            group.Broadcast(own, root);
            float[] first = [10 * group.Rank + 1];
            group.Broadcast<float>(first);
            Assert.Equal([1], first);
            group.Barrier();
            return own.To(ElementType.Float32).ToArray<float>();
        });
        Assert.All(values, own => Assert.Equal([root + 1, root + 1, root + 1], own));
    }

    [Fact]
    public async Task Each_pair_exchanges_another_length_and_the_bytes_are_counted()
    {
        var sent = await TogetherAsync(3, Patient, group =>
        {
            using var scope = new TensorScope();
            var rank = group.Rank;

            // From rank a to rank b go a + 2b numbers 10a + b; nothing from 0 to 0.
            var inputs = Enumerable.Range(0, 3).Select(to => Tensor.Full([rank + (2 * to)], (10 * rank) + to, ElementType.BFloat16)).ToArray();
            var outputs = Enumerable.Range(0, 3).Select(from => Tensor.Zeros([from + (2 * rank)], ElementType.BFloat16)).ToArray();
            group.Exchange(outputs, inputs).Wait();
            for (var from = 0; from < 3; from++)
                Assert.Equal(Enumerable.Repeat((10f * from) + rank, from + (2 * rank)), outputs[from].To(ElementType.Float32).ToArray<float>());
            return group.BytesSent;
        });
        Assert.Equal([2 * (2 + 4), 2 * (1 + 5), 2 * (2 + 4)], sent);
    }

    [Fact]
    public async Task What_is_sent_arrives_in_order_while_the_sender_goes_on()
    {
        await TogetherAsync(2, Patient, group =>
        {
            using var scope = new TensorScope();
            if (group.Rank == 0)
            {
                var sends = Enumerable.Range(0, 5).Select(i => group.Send(Tensor.Full([4], i, ElementType.Float32), 1)).ToList();
                sends.ForEach(send => send.Wait());
            }
            else
            {
                var arrived = Enumerable.Range(0, 5).Select(_ => Tensor.Zeros([4])).ToList();
                var receives = arrived.Select(values => group.Receive(values, 0)).ToList();
                receives.ForEach(receive => receive.Wait());
                Assert.Equal([0, 1, 2, 3, 4], arrived.Select(values => values.ToArray<float>()[3]));
            }

            return 0;
        });
    }

    [Fact]
    public async Task Nobody_passes_a_barrier_before_all_are_there()
    {
        var late = 0;
        var seen = await TogetherAsync(3, Patient, group =>
        {
            if (group.Rank == 2)
            {
                Thread.Sleep(200);
                Volatile.Write(ref late, 1);
            }

            group.Barrier();
            return Volatile.Read(ref late);
        });
        Assert.Equal([1, 1, 1], seen);
    }

    [Fact]
    public async Task Other_lengths_and_other_calls_are_told_apart()
    {
        var lengths = await FaultsAsync(2, Impatient, group => group.AllReduce<float>(new float[3 + group.Rank]));
        Assert.All(lengths, fault => Assert.Contains(fault!.Code, new[] { "out_of_step", "process_ended" }));
        Assert.Contains(lengths, fault => fault is { Code: "out_of_step" } && fault.Message.Contains("16 bytes", StringComparison.Ordinal)
            && fault.Message.Contains("12 bytes", StringComparison.Ordinal));
        var calls = await FaultsAsync(2, Impatient, group => Choose(group.Rank == 0, group.Barrier, () => group.AllReduce<float>(new float[1])));
        Assert.Contains(calls, fault => fault is { Code: "out_of_step" });
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(1, false)]
    [InlineData(0, true)]
    [InlineData(1, true)]
    public async Task A_process_that_dies_is_named_by_the_others(int dying, bool overTcp)
    {
        var faults = await FaultsAsync(3, Patient, group => Choose(group.Rank == dying, group.Dispose, group.Barrier), overTcp);
        Assert.All(faults.Index().Where(fault => fault.Index != dying), fault =>
        {
            Assert.Contains(fault.Item!.Code, new[] { "process_gone", "process_ended" });
            Assert.Equal(dying, fault.Item.Parameters["rank"]);
        });
    }

    [Fact]
    public async Task The_error_of_one_is_told_by_all()
    {
        var faults = await FaultsAsync(3, Patient, group =>
        {
            if (group.Rank == 1)
            {
                group.Record(new IOException("the disk of process 1 is full"));
                group.Dispose();
                return;
            }

            group.Barrier();
        });
        Assert.All([faults[0], faults[2]], fault => FaultAssert.Is(fault!, "process_ended", ("rank", 1)));
        Assert.Contains("the disk of process 1 is full", faults[0]!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_differs_is_named_in_all_processes()
    {
        var faults = await FaultsAsync(3, Patient, group =>
        {
            group.Agree([("batch", "4"), ("batch", "5"), ("rate", "0.1")], Ct);
            group.Agree([("batch", "4"), ("rate", group.Rank == 2 ? "0.2" : "0.1")], Ct);
        });
        Assert.All(faults, fault => FaultAssert.Is(fault!, "processes_differ", ("rank", 2), ("fact", "rate"), ("first", "0.1"), ("other", "0.2")));
    }

    [Fact]
    public void Who_does_not_come_is_named_while_waiting_and_at_the_end()
    {
        var waits = new Waits();
        var options = new GroupOptions { Limit = TimeSpan.FromMilliseconds(200), Waiting = waits };
        var error = Assert.Throws<ProcessGroupException>(() => ProcessGroup.Join(OfFile(0, 3), options, Ct));
        FaultAssert.Is(error, "processes_absent", ("world_size", 3), ("rank", 1));
        Assert.Equal([1, 2], waits.Last!.Missing);
        error = Assert.Throws<ProcessGroupException>(() => ProcessGroup.Join(new Rendezvous(1, 2, 1, "127.0.0.1", FreePort()), options, Ct));
        FaultAssert.Is(error, "no_answer", ("rank", 0));
    }

    [Fact]
    public async Task A_rank_that_comes_twice_and_another_number_of_processes_are_refused()
    {
        var twice = await Task.WhenAll(Enumerable.Range(0, 2).Select(_ => FaultOfAsync(() => ProcessGroup.Join(OfFile(0, 2), Patient, Ct))));
        Assert.Contains(twice, fault => fault is { Code: "rank_taken" });
        Assert.All(twice, fault => Assert.NotNull(fault));
        var file = Path.Combine(folder.Path, "sizes");
        var sizes = await Task.WhenAll(Enumerable.Range(0, 2).Select(rank =>
            FaultOfAsync(() => ProcessGroup.Join(new Rendezvous(rank, 2 + rank, rank, "127.0.0.1", 0) { StoreFile = file }, Patient, Ct))));
        Assert.Contains(sizes, fault => fault is { Code: "processes_differ" } && Equals(fault.Parameters["fact"], "WORLD_SIZE"));
        Assert.All(sizes, fault => Assert.NotNull(fault));
    }

    [Fact]
    public async Task A_hundred_strangers_change_nothing()
    {
        var port = FreePort();
        var first = FaultOfAsync(() => Member(0));
        using var stop = new CancellationTokenSource();
        var strangers = Enumerable.Range(0, 100).Select(i => StrangerAsync(i, port, stop.Token)).ToList();
        await Task.WhenAll(strangers.Where((_, i) => i % 4 != 1));
        var second = FaultOfAsync(() => Member(1));
        Assert.Null(await first);
        Assert.Null(await second);
        await stop.CancelAsync();
        await Task.WhenAll(strangers);

        ProcessGroup Member(int rank)
        {
            var group = ProcessGroup.Join(new Rendezvous(rank, 2, rank, "127.0.0.1", port), Patient, Ct);
            double[] one = [1];
            group.AllReduce<double>(one);
            Assert.Equal([2], one);
            group.Barrier();
            return group;
        }
    }

    [Fact]
    public void A_port_that_is_taken_is_named()
    {
        using var listener = new TcpListener(IPAddress.Any, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        var error = Assert.Throws<ProcessGroupException>(() => ProcessGroup.Join(new Rendezvous(0, 2, 0, "127.0.0.1", port), Impatient, Ct));
        FaultAssert.Is(error, "port_in_use", ("port", port));
    }

    [Fact]
    public void The_variables_of_torchrun_are_read()
    {
        var variables = new Dictionary<string, string>
        {
            ["RANK"] = "3", ["WORLD_SIZE"] = "8", ["LOCAL_RANK"] = "1", ["MASTER_ADDR"] = "10.0.0.1", ["MASTER_PORT"] = "29500",
        };
        Assert.Equal(new Rendezvous(3, 8, 1, "10.0.0.1", 29500) { Prefix = "pyramidflow//" }, Rendezvous.FromEnvironment(variables.GetValueOrDefault));
        variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
        variables["TORCHELASTIC_RUN_ID"] = "none";
        variables["TORCHELASTIC_RESTART_COUNT"] = "2";
        Assert.Equal(new Rendezvous(3, 8, 1, "10.0.0.1", 29500) { IsServed = true, Prefix = "pyramidflow/none/2" }, Rendezvous.FromEnvironment(variables.GetValueOrDefault));
        Assert.Null(Rendezvous.FromEnvironment(_ => null));
        variables["RANK"] = "8";
        FaultAssert.Is(Refused(), "variable_out_of_range", ("variable", "RANK"), ("value", "8"), ("least", 0), ("most", 7));
        variables["RANK"] = "1";
        variables.Remove("MASTER_PORT");
        FaultAssert.Is(Refused(), "variable_missing", ("variable", "MASTER_PORT"));

        ProcessGroupException Refused() => Assert.Throws<ProcessGroupException>(() => Rendezvous.FromEnvironment(variables.GetValueOrDefault));
    }

    [Fact]
    public void The_variables_of_Slurm_and_MPI_are_read()
    {
        var slurm = new Dictionary<string, string>
        {
            ["SLURM_PROCID"] = "5", ["SLURM_STEP_NUM_TASKS"] = "8", ["SLURM_LOCALID"] = "1", ["SLURM_STEP_NODELIST"] = "gpu[07-08,11],big1", ["SLURM_JOB_ID"] = "4321",
            ["SLURM_STEP_TASKS_PER_NODE"] = "2(x4)",
        };
        Assert.Equal(new Rendezvous(5, 8, 1, "gpu07", 29821) { LocalSize = 2, Prefix = "pyramidflow//" }, Rendezvous.FromEnvironment(slurm.GetValueOrDefault));

        // The script of a job is no step of it: a command there runs alone.
        Assert.Null(Rendezvous.FromEnvironment(new Dictionary<string, string> { ["SLURM_PROCID"] = "0", ["SLURM_NTASKS"] = "8" }.GetValueOrDefault));

        var mpi = new Dictionary<string, string>
        {
            ["OMPI_COMM_WORLD_RANK"] = "1", ["OMPI_COMM_WORLD_SIZE"] = "2", ["OMPI_COMM_WORLD_LOCAL_RANK"] = "1", ["OMPI_COMM_WORLD_LOCAL_SIZE"] = "2",
        };
        Assert.Equal(new Rendezvous(1, 2, 1, "127.0.0.1", 29500) { LocalSize = 2, Prefix = "pyramidflow//" }, Rendezvous.FromEnvironment(mpi.GetValueOrDefault));
        mpi["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1";
        FaultAssert.Is(Assert.Throws<ProcessGroupException>(() => Rendezvous.FromEnvironment(mpi.GetValueOrDefault)), "variable_missing", ("variable", "MASTER_ADDR"));
    }

    [Theory]
    [InlineData("one", "one")]
    [InlineData("one,two", "one")]
    [InlineData("node[3-7,9],other", "node3")]
    [InlineData("node[03,9]", "node03")]
    [InlineData("a,node[03,9]", "a")]
    public void The_first_machine_of_a_Slurm_list_is_found(string nodes, string first) => Assert.Equal(first, Rendezvous.FirstNode(nodes));

    private static float[] SumOf(int size, int count)
    {
        using var scope = new TensorScope();
        var sum = Random(0, count);
        for (var rank = 1; rank < size; rank++)
            sum = sum + Random(rank, count);
        return sum.ToArray<float>();
    }

    private static Tensor Random(int seed, int count)
    {
        using var generator = new RandomGenerator((ulong)seed);
        return Tensor.Randn([count], generator);
    }

    private static void Choose(bool first, Action one, Action other) => (first ? one : other)();

    private Rendezvous OfFile(int rank, int size) => new(rank, size, rank, "127.0.0.1", 0) { StoreFile = Path.Combine(folder.Path, "store") };

    // HTTP, silence, garbage, and a connection that closes at once.
    private static async Task StrangerAsync(int kind, int port, CancellationToken stop)
    {
        using var client = new TcpClient();
        while (!client.Connected)
        {
            try
            {
                await client.ConnectAsync(IPAddress.Loopback, port, Ct);
            }
            catch (SocketException)
            {
                await Task.Delay(20, Ct);
            }
        }

        var garbage = new byte[100];
        new Random(kind).NextBytes(garbage);
        if (kind % 4 == 0)
            await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\nHost: here\r\n\r\n"), Ct);
        else if (kind % 4 == 1)
            await Task.Delay(Timeout.Infinite, stop).ContinueWith(_ => { }, TaskScheduler.Default);
        else if (kind % 4 == 2)
            await client.GetStream().WriteAsync(garbage, Ct);
    }

    private static Task<ProcessGroupException?> FaultOfAsync(Func<ProcessGroup> join) => Task.Factory.StartNew(() =>
    {
        try
        {
            join().Dispose();
            return null;
        }
        catch (ProcessGroupException e)
        {
            return e;
        }
    }, Ct, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    // The error of each process; null where it has none.
    private async Task<ProcessGroupException?[]> FaultsAsync(int size, GroupOptions options, Action<ProcessGroup> action, bool overTcp = false) =>
        await TogetherAsync<ProcessGroupException?>(size, options, group =>
        {
            try
            {
                action(group);
                return null;
            }
            catch (ProcessGroupException e)
            {
                return e;
            }
        }, overTcp);

    // Each process is a thread here; their tensors move over connections all the same.
    private async Task<T[]> TogetherAsync<T>(int size, GroupOptions options, Func<ProcessGroup, T> action, bool overTcp = false)
    {
        var (port, file) = (FreePort(), Path.Combine(folder.Path, Guid.NewGuid().ToString("N")));
        return await Task.WhenAll(Enumerable.Range(0, size).Select(rank => Task.Factory.StartNew(() =>
        {
            using var group = ProcessGroup.Join(new Rendezvous(rank, size, rank, "127.0.0.1", port) { StoreFile = overTcp ? null : file }, options, Ct);
            return action(group);
        }, Ct, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private sealed class Waits : IProgress<GroupWaiting>
    {
        public GroupWaiting? Last { get; private set; }

        public void Report(GroupWaiting value) => Last = value;
    }
}
