using PyramidFlow.Testing;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

public sealed class GroupLoopTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Two_processes_end_where_one_with_the_whole_batch_does()
    {
        var one = Weights(new ToyConfig { Workers = 2, Accumulation = 2 }, "one", null, Ct);
        var two = await TogetherAsync(new ToyConfig { Accumulation = 2 }, "two", Ct);
        Assert.Equal(two[0], two[1]);
        Assert.All(one.Zip(two[0]), pair => Assert.Equal(pair.First, pair.Second, 1e-5f * Math.Max(1, Math.Abs(pair.First))));
        Assert.Single(Directory.GetFiles(Path.Combine(folder.Path, "two"), "events.*"));
    }

    [Fact]
    public async Task A_stop_that_one_of_them_hears_stops_all_after_the_same_step()
    {
        using var stop = new CancellationTokenSource();
        var config = new ToyConfig { Steps = 100_000, CheckpointEvery = 100_000 };
        var running = TogetherAsync(config, "run", stop.Token);
        while (!File.Exists(Path.Combine(folder.Path, "run", "metrics.jsonl")))
            await Task.Delay(20, Ct);
        await stop.CancelAsync();
        var weights = await running;
        Assert.Equal(weights[0], weights[1]);
        Assert.NotNull(new RunFolder(Path.Combine(folder.Path, "run")).LatestState);

        // They go on from there together.
        config = config with { Steps = 1 };
        await TogetherAsync(config, "run", Ct);
    }

    private async Task<float[][]> TogetherAsync(ToyConfig config, string name, CancellationToken second)
    {
        var file = Path.Combine(folder.Path, Guid.NewGuid().ToString("N"));
        return await Task.WhenAll(Enumerable.Range(0, 2).Select(rank => Task.Factory.StartNew(() =>
        {
            using var group = ProcessGroup.Join(new Rendezvous(rank, 2, rank, "127.0.0.1", 0) { StoreFile = file }, cancellationToken: Ct);
            return Weights(config, name, group, rank == 1 ? second : Ct);
        }, Ct, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
    }

    private float[] Weights(ToyConfig config, string name, ProcessGroup? group, CancellationToken cancellationToken)
    {
        var run = new RunFolder(Path.Combine(folder.Path, name));
        using var training = new ToyTraining(config, run);
        new TrainingLoop(config, training, run, group).Run(null, cancellationToken);
        return training.Weights;
    }
}
