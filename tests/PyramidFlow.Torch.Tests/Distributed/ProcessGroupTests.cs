using System.Net;
using System.Net.Sockets;
using PyramidFlow.Testing;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Torch.Tests.Distributed;

public class ProcessGroupTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public async Task All_get_the_same_sum_to_the_bit(int size)
    {
        // More than one chunk goes over the wire.
        const int count = 300_000;
        var sums = await TogetherAsync(size, group =>
        {
            using var scope = new TensorScope();
            using var generator = new RandomGenerator((ulong)group.Rank);
            var values = Tensor.Randn([count], generator);
            group.AllReduce(values);
            double[] few = [group.Rank, 1];
            group.AllReduce<double>(few);
            Assert.Equal([size * (size - 1) / 2, size], few);
            return values.ToArray<float>();
        });

        using var scope = new TensorScope();
        var expected = Tensor.Zeros([count]);
        for (var rank = 0; rank < size; rank++)
        {
            using var generator = new RandomGenerator((ulong)rank);
            expected = expected + Tensor.Randn([count], generator);
        }

        Assert.All(sums, sum => Assert.Equal(expected.ToArray<float>(), sum));
    }

    [Fact]
    public async Task The_first_ones_numbers_are_handed_to_all()
    {
        var values = await TogetherAsync(3, group =>
        {
            float[] mine = [group.Rank + 1, 5 * group.Rank];
            group.Broadcast<float>(mine);
            group.Barrier();
            return mine;
        });
        Assert.All(values, mine => Assert.Equal([1, 0], mine));
    }

    [Fact]
    public async Task Nobody_passes_a_barrier_before_all_are_there()
    {
        var late = 0;
        await TogetherAsync(3, group =>
        {
            if (group.Rank == 2)
            {
                Thread.Sleep(200);
                Volatile.Write(ref late, 1);
            }

            group.Barrier();
            return Volatile.Read(ref late);
        }, results => Assert.Equal([1, 1, 1], results));
    }

    [Fact]
    public async Task Other_lengths_and_other_calls_are_told_apart()
    {
        var lengths = await FaultsAsync(group => group.AllReduce<float>(new float[3 + group.Rank]));
        FaultAssert.Is(lengths[0]!, "out_of_step", ("rank", 1), ("other", "AllReduce 1 of 4 numbers"), ("own", "AllReduce 1 of 3"));
        var calls = await FaultsAsync(group => Choose(group.Rank == 0, group.Barrier, () => group.AllReduce<float>(new float[1])));
        FaultAssert.Is(calls[0]!, "out_of_step", ("rank", 1), ("other", "AllReduce 1 of 1 numbers"), ("own", "Barrier 1 of 0"));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task A_process_that_dies_is_named_by_the_others(int dying)
    {
        var faults = await FaultsAsync(group => Choose(group.Rank == dying, group.Dispose, group.Barrier));
        FaultAssert.Is(faults[1 - dying]!, "process_gone", ("rank", dying));
    }

    [Fact]
    public void Who_does_not_come_is_told_by_number()
    {
        var error = Assert.Throws<ProcessGroupException>(() =>
            ProcessGroup.Join(new Rendezvous(0, 3, 0, "127.0.0.1", FreePort()), TimeSpan.FromMilliseconds(50), Ct));
        FaultAssert.Is(error, "processes_absent", ("missing", 2), ("world_size", 3));
    }

    [Fact]
    public void The_variables_of_torchrun_are_read()
    {
        var variables = new Dictionary<string, string>
        {
            ["RANK"] = "3", ["WORLD_SIZE"] = "8", ["LOCAL_RANK"] = "1", ["MASTER_ADDR"] = "10.0.0.1", ["MASTER_PORT"] = "29500",
        };
        Assert.Equal(new Rendezvous(3, 8, 1, "10.0.0.1", 29500), Rendezvous.FromEnvironment(variables.GetValueOrDefault));
        Assert.Null(Rendezvous.FromEnvironment(_ => null));
        variables["RANK"] = "8";
        FaultAssert.Is(Refused(), "variable_out_of_range", ("variable", "RANK"), ("value", "8"), ("least", 0), ("most", 7));
        variables["RANK"] = "1";
        variables.Remove("MASTER_PORT");
        FaultAssert.Is(Refused(), "variable_missing", ("variable", "MASTER_PORT"));

        ProcessGroupException Refused() => Assert.Throws<ProcessGroupException>(() => Rendezvous.FromEnvironment(variables.GetValueOrDefault));
    }

    private static void Choose(bool first, Action one, Action other) => (first ? one : other)();

    // The error of each process; null where it has none.
    private static async Task<ProcessGroupException?[]> FaultsAsync(Action<ProcessGroup> action) => await TogetherAsync<ProcessGroupException?>(2, group =>
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
    });

    private static async Task TogetherAsync<T>(int size, Func<ProcessGroup, T> action, Action<T[]> check) => check(await TogetherAsync(size, action));

    // Each process is a thread here; what they say to each other goes over TCP all the same.
    private static async Task<T[]> TogetherAsync<T>(int size, Func<ProcessGroup, T> action)
    {
        var port = FreePort();
        return await Task.WhenAll(Enumerable.Range(0, size).Select(rank => Task.Factory.StartNew(() =>
        {
            using var group = ProcessGroup.Join(new Rendezvous(rank, size, rank, "127.0.0.1", port), cancellationToken: Ct);
            return action(group);
        }, Ct, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
