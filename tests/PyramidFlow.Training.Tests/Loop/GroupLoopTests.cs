using PyramidFlow.Testing;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

public sealed class GroupLoopTests : IDisposable
{
    // 1,406 weights: neither 3 nor 4 shares are equal.
    private const int Inputs = 37;
    private const int Steps = 12;

    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(2, TrainingPrecision.Float32)]
    [InlineData(3, TrainingPrecision.Float32)]
    [InlineData(4, TrainingPrecision.Float32)]
    [InlineData(2, TrainingPrecision.Bfloat16)]
    [InlineData(4, TrainingPrecision.Bfloat16)]
    public async Task Shares_end_in_the_bits_of_whole_states(int ranks, TrainingPrecision precision)
    {
        var config = new ToyConfig { Precision = precision, Accumulation = 2, SampleEvery = 5 };
        foreach (var shard in Enum.GetValues<SharedState>())
        {
            var weights = await TogetherAsync(config with { Shard = shard }, shard.ToString(), ranks, Ct);
            Assert.All(weights, own => Assert.Equal(weights[0], own));
        }

        foreach (var file in new[] { $"state-{Steps:D8}.safetensors", "toy.safetensors" })
        {
            var expected = await File.ReadAllBytesAsync(PathOf(nameof(SharedState.None), file), Ct);
            Assert.Equal(expected, await File.ReadAllBytesAsync(PathOf(nameof(SharedState.Optimizer), file), Ct));
            Assert.Equal(expected, await File.ReadAllBytesAsync(PathOf(nameof(SharedState.Gradients), file), Ct));
        }
    }

    [Fact]
    public async Task Moments_in_codes_have_the_same_bits_in_shares_and_after_a_stop()
    {
        var config = new ToyConfig { Moments = MomentForm.EightBit };
        var whole = (await TogetherAsync(config, "whole", 2, Ct))[0];
        foreach (var shard in Enum.GetValues<SharedState>())
        {
            Assert.Equal(whole, (await TogetherAsync(config with { Shard = shard }, $"{shard}", 2, Ct))[0]);
            await TogetherAsync(config with { Shard = shard, Steps = 5 }, $"{shard}-parts", 2, Ct);
            Assert.Equal(whole, (await TogetherAsync(config with { Shard = shard }, $"{shard}-parts", 2, Ct))[0]);
        }

        // A run may go on with the other form, and ends close by.
        var plain = (await TogetherAsync(config with { Moments = MomentForm.Float32 }, "plain", 2, Ct))[0];
        await TogetherAsync(config with { Steps = 5 }, "changed", 2, Ct);
        var changed = (await TogetherAsync(config with { Moments = MomentForm.Float32 }, "changed", 2, Ct))[0];
        Assert.All(new[] { whole, changed }, weights => Assert.InRange(Difference(plain, weights), 1e-6, 0.05));
    }

    [Theory]
    [InlineData(2, SharedState.None)]
    [InlineData(4, SharedState.None)]
    [InlineData(2, SharedState.Optimizer)]
    [InlineData(4, SharedState.Optimizer)]
    [InlineData(2, SharedState.Gradients)]
    [InlineData(4, SharedState.Gradients)]
    public async Task Several_processes_end_where_one_with_the_whole_batch_does(int ranks, SharedState shard)
    {
        var one = Weights(new ToyConfig { Workers = ranks, Accumulation = 2 }, "one", null, Ct);
        var several = await TogetherAsync(new ToyConfig { Accumulation = 2, Shard = shard }, "several", ranks, Ct);
        Assert.InRange(Difference(one, several[0]), 0, 1e-6);
        Assert.Single(Directory.GetFiles(Path.Combine(folder.Path, "several"), "events.*"));
    }

    // The workers of all processes are four throughout, so that the batches are the same.
    [Theory]
    [InlineData(4, SharedState.Optimizer, 2, SharedState.Optimizer)]
    [InlineData(2, SharedState.Gradients, 4, SharedState.Gradients)]
    [InlineData(2, SharedState.Optimizer, 1, SharedState.Optimizer)]
    [InlineData(1, SharedState.None, 4, SharedState.Gradients)]
    [InlineData(4, SharedState.Optimizer, 4, SharedState.None)]
    [InlineData(4, SharedState.None, 4, SharedState.Optimizer)]
    [InlineData(4, SharedState.Gradients, 2, SharedState.None)]
    public async Task A_run_goes_on_with_other_processes_and_other_shares(int before, SharedState first, int after, SharedState then)
    {
        foreach (var precision in Enum.GetValues<TrainingPrecision>())
        {
            var config = new ToyConfig { Precision = precision };
            var whole = (await TogetherAsync(config with { Workers = 4 / before, Shard = first }, $"whole-{precision}", before, Ct))[0];
            await TogetherAsync(config with { Workers = 4 / before, Shard = first, Steps = 6 }, $"parts-{precision}", before, Ct);
            var parts = (await TogetherAsync(config with { Workers = 4 / after, Shard = then }, $"parts-{precision}", after, Ct))[0];
            if (before == after)
                Assert.Equal(whole, parts);
            else
                Assert.InRange(Difference(whole, parts), 0, precision == TrainingPrecision.Float32 ? 1e-6 : 1e-2);
        }
    }

    [Fact]
    public async Task Whole_micro_batches_make_a_run_that_does_not_depend_on_the_number_of_processes()
    {
        foreach (var shard in Enum.GetValues<SharedState>())
        {
            var config = new ToyConfig { BatchesPerStep = 4, Shard = shard };
            var one = (await TogetherAsync(config, $"{shard}-1", 1, Ct))[0];
            foreach (var ranks in new[] { 2, 4 })
                Assert.InRange(Difference(one, (await TogetherAsync(config, $"{shard}-{ranks}", ranks, Ct))[0]), 0, 1e-6);

            // On 4, then on 2, then on 1.
            await TogetherAsync(config with { Steps = 4 }, $"{shard}-parts", 4, Ct);
            await TogetherAsync(config with { Steps = 8 }, $"{shard}-parts", 2, Ct);
            Assert.InRange(Difference(one, (await TogetherAsync(config, $"{shard}-parts", 1, Ct))[0]), 0, 1e-6);
        }

        // One process takes the same steps with as many accumulated micro-batches.
        Assert.Equal((await TogetherAsync(new ToyConfig { Accumulation = 4 }, "accumulated", 1, Ct))[0], (await TogetherAsync(new ToyConfig { BatchesPerStep = 4 }, "shared", 1, Ct))[0]);
    }

    [Fact]
    public void Micro_batches_that_processes_cannot_share_are_refused()
    {
        FaultAssert.Is(Assert.Throws<TrainingException>(() => new ToyConfig { BatchesPerStep = 4 }.MicroBatches(3)), "batches_not_of_processes", ("batches_per_step", 4), ("processes", 3));
        FaultAssert.Is(new ToyConfig { BatchesPerStep = 4, Accumulation = 2 }.Fault!, "batches_counted_twice", ("file", "toy.json"));
        FaultAssert.Is(new ToyConfig { BatchesPerStep = 0 }.Fault!, TrainingFault.ValueInvalidCode, ("file", "toy.json"), ("key", "batches_per_step"), ("value", 0), ("least", 1));
    }

    [Theory]
    [InlineData(SharedState.None, 1, 1)]
    [InlineData(SharedState.Optimizer, 4, 1)]
    [InlineData(SharedState.Gradients, 4, 4)]
    public async Task A_process_holds_its_share_only(SharedState shard, int moments, int gradients)
    {
        const long count = Inputs * (Inputs + 1);
        var file = Path.Combine(folder.Path, "store");
        await Ranks.RunAsync(4, file, group =>
        {
            var config = new ToyConfig { Shard = shard, Precision = TrainingPrecision.Bfloat16, Steps = 2 };
            var run = new RunFolder(Path.Combine(folder.Path, "run"));
            using var training = new ToyTraining(config, run, Inputs, group);
            new TrainingLoop(config, training, run, group).Run(null, Ct);
            var part = training.Parts[0];
            Assert.Equal(count, part.Parameters.Computed.ElementCount);
            Assert.All(new[] { part.Parameters.Values, part.Average!.Values, part.Optimizer.FirstMoment, part.Optimizer.SecondMoment }, held =>
                Assert.InRange(held.ElementCount, count / moments, (count / moments) + 1));
            if (gradients == 1)
                Assert.Equal(count, part.Parameters.Gradients.ElementCount);
            else
                Assert.Throws<InvalidOperationException>(() => part.Parameters.Gradients);
            Assert.InRange(part.Parameters.HeldGradients.ElementCount, count / moments, (count / moments) + 1);
            return 0;
        });
    }

    [Fact]
    public async Task A_skipped_step_leaves_shares_as_they_are()
    {
        // The third step is a spike, in one process only.
        var weights = new List<float[]>();
        foreach (var shard in Enum.GetValues<SharedState>())
        {
            var name = $"spike-{shard}";
            var all = await Ranks.RunAsync(2, Path.Combine(folder.Path, Guid.NewGuid().ToString("N")), group => Weights(
                new ToyConfig { Shard = shard, Steps = 30, SpikeFactor = 3 }, name, group, Ct, batch => batch is { Step: 25, Rank: 1 } ? 100 : 1));
            Assert.Equal(all[0], all[1]);
            weights.Add(all[0]);
            Assert.Contains("\"skipped_steps\":1", await File.ReadAllTextAsync(PathOf(name, "metrics.jsonl"), Ct), StringComparison.Ordinal);
        }

        Assert.All(weights, own => Assert.Equal(weights[0], own));
    }

    [Theory]
    [InlineData(SharedState.None)]
    [InlineData(SharedState.Gradients)]
    public async Task A_stop_that_one_of_them_hears_stops_all_after_the_same_step(SharedState shard)
    {
        using var stop = new CancellationTokenSource();
        var config = new ToyConfig { Steps = 100_000, CheckpointEvery = 100_000, Shard = shard };
        var running = TogetherAsync(config, "run", 2, stop.Token);
        while (!File.Exists(Path.Combine(folder.Path, "run", "metrics.jsonl")))
            await Task.Delay(20, Ct);
        await stop.CancelAsync();
        var weights = await running;
        Assert.Equal(weights[0], weights[1]);
        Assert.NotNull(new RunFolder(Path.Combine(folder.Path, "run")).LatestState);

        // They go on from there together.
        config = config with { Steps = 1 };
        await TogetherAsync(config, "run", 2, Ct);
    }

    private static double Difference(float[] a, float[] b) =>
        Math.Sqrt(a.Zip(b, (x, y) => Math.Pow(x - y, 2)).Sum() / a.Sum(x => Math.Pow(x, 2)));

    private string PathOf(string run, string file) => Path.Combine(folder.Path, run, file);

    // The last process hears the stop.
    private async Task<float[][]> TogetherAsync(ToyConfig config, string name, int ranks, CancellationToken stop) => ranks == 1
        ? [Weights(config, name, null, stop)]
        : await Ranks.RunAsync(ranks, Path.Combine(folder.Path, Guid.NewGuid().ToString("N")), group => Weights(config, name, group, group.Rank == ranks - 1 ? stop : Ct));

    private float[] Weights(ToyConfig config, string name, ProcessGroup? group, CancellationToken cancellationToken, Func<MicroBatch, double>? factor = null)
    {
        var run = new RunFolder(Path.Combine(folder.Path, name));
        using var training = new ToyTraining(config, run, Inputs, group) { Factor = factor ?? (_ => 1) };
        new TrainingLoop(config, training, run, group).Run(null, cancellationToken);
        return training.Weights;
    }
}
