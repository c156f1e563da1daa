using System.Text.Json;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

/// <summary>The loss of held-out items at checkpoints, and the weights with the least.</summary>
public sealed class EvaluationTests : IDisposable
{
    private static readonly ToyConfig Config = new() { Steps = 14, AverageDecay = 0.7 };
    private static readonly string[] Names = ["held_out_loss", "held_out_loss_0", "held_out_loss_2"];

    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public void The_published_weights_are_measured_at_the_start_at_checkpoints_and_at_the_end()
    {
        Train(Config, "run");
        var losses = Losses("run");
        Assert.Equal([0, 4, 8, 12, 14], losses.Select(line => line.Step));
        Assert.All(losses.Zip(losses.Skip(1)), pair => Assert.True(pair.Second.Values[0] < pair.First.Values[0], "it learns"));

        // Stages count as they do in training.
        Assert.All(losses, line => Assert.Equal((line.Values[1] + (3 * line.Values[2])) / 4, line.Values[0], 1e-12));

        using var published = new ToyTraining(Config, new RunFolder(In("other"))) { HeldOutCount = 3 };
        using (var scope = new TensorScope())
        using (var file = SafetensorsFile.Open(In("run", "toy.safetensors")))
            published.Parts[0].Parameters.Load(Tensor.Cat([file.Read("weight").Flatten(0), file.Read("bias")], 0));
        Assert.Equal(losses[^1].Values, published.HeldOut!.Measure(null).Named.Select(value => value.Value));
        Assert.Contains($"\nbest            step 14, held_out_loss {losses[^1].Values[0].ToString("G6", null)}, in best\n", File.ReadAllText(In("run", "summary.txt")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(5)]
    [InlineData(7)]
    [InlineData(13)]
    public void A_stopped_run_measures_the_same_to_the_bit(int stopAt)
    {
        Train(Config, "whole");
        using (var stop = new CancellationTokenSource())
            Train(Config, "parts", begin: batch => Stop(stop, batch.Step == stopAt), stop: stop);
        Train(Config, "parts");
        Assert.Equal(Losses("whole"), Losses("parts"), (a, b) => a.Step == b.Step && a.Values.SequenceEqual(b.Values));
        foreach (var file in new[] { "state-00000014.safetensors", "toy.safetensors", "best/toy.safetensors", "best/run.json" })
            Assert.Equal(File.ReadAllBytes(In("whole", file)), File.ReadAllBytes(In("parts", file)));
    }

    [Fact]
    public void The_weights_with_the_least_loss_stay_in_a_folder_of_their_own()
    {
        long step = 0;
        var told = new List<string>();
        using (var training = Make(Config with { KeepLast = 1 }, "run", batch => step = batch.Step + 1, () => step == 0 ? 0.5 : Math.Abs(step - 8) + 1))
            new TrainingLoop(Config with { KeepLast = 1 }, training, new RunFolder(In("run"))).Run(new Notes(told), Ct);
        Train(Config with { Steps = 8 }, "earlier");
        Assert.Equal(File.ReadAllBytes(In("earlier", "toy.safetensors")), File.ReadAllBytes(In("run", "best", "toy.safetensors")));
        Assert.Equal(new BestWeights(8, 1.75, "3 of toy"), Best("run").Read());
        Assert.False(Best("run").IsNewest);
        Assert.True(Best("earlier").IsNewest);
        Assert.Contains("\nbest            step 8, held_out_loss 1.75, in best\n", File.ReadAllText(In("run", "summary.txt")), StringComparison.Ordinal);
        Assert.Equal(In("run"), BestFolder.RunOf(In("run", "best")));
        Assert.Null(BestFolder.RunOf(In("run")));
        Assert.Equal(
            ["0.8750, held_out_loss_0 0.5000, held_out_loss_2 1.0000", "8.7500, held_out_loss_0 5.0000, held_out_loss_2 10.0000, the least so far",
             "1.7500, held_out_loss_0 1.0000, held_out_loss_2 2.0000, the least so far", "8.7500, held_out_loss_0 5.0000, held_out_loss_2 10.0000, the least is 1.7500 of step 8",
             "12.2500, held_out_loss_0 7.0000, held_out_loss_2 14.0000, the least is 1.7500 of step 8"],
            told.Where(note => note.StartsWith("held_out_loss ", StringComparison.Ordinal)).Select(note => note["held_out_loss ".Length..]));

        // The run goes on: what is best is known, and only less replaces it.
        step = 14;
        Scripted(Config with { Steps = 18 }, () => step == 16 ? 1.5 : 1);
        Assert.Equal(new BestWeights(8, 1.75, "3 of toy"), Best("run").Read());
        Scripted(Config with { Steps = 20 }, () => 0.9);
        Assert.Equal(20, Best("run").Read()!.Step);

        void Scripted(ToyConfig config, Func<double> loss)
        {
            using var training = Make(config, "run", batch => step = batch.Step + 1, loss);
            new TrainingLoop(config, training, new RunFolder(In("run"))).Run(null, Ct);
        }
    }

    [Fact]
    public void Best_weights_that_an_interruption_lost_are_kept_after_it()
    {
        Train(Config, "run");
        var kept = File.ReadAllBytes(In("run", "best", "toy.safetensors"));
        Directory.Delete(In("run", "best"), recursive: true);
        Train(Config, "run");
        Assert.Equal(kept, File.ReadAllBytes(In("run", "best", "toy.safetensors")));
        Assert.Equal(14, Best("run").Read()!.Step);

        // Those of an earlier step are gone for good: the next ones are the best.
        long step = 0;
        Scripted(Config with { Steps = 18 }, 99);
        Assert.Equal(14, Best("run").Read()!.Step);
        Directory.Delete(In("run", "best"), recursive: true);
        Scripted(Config with { Steps = 20 }, 98);
        Assert.Equal(20, Best("run").Read()!.Step);

        void Scripted(ToyConfig config, double loss)
        {
            using var training = Make(config, "run", batch => step = batch.Step + 1, () => loss);
            new TrainingLoop(config, training, new RunFolder(In("run"))).Run(null, Ct);
        }
    }

    [Fact]
    public void Losses_of_other_items_are_not_compared()
    {
        Train(Config, "run");
        using (var other = new ToyTraining(Config with { Steps = 15 }, new RunFolder(In("run"))) { HeldOutCount = 4, HeldOutLoss = () => 99 })
            new TrainingLoop(Config with { Steps = 15 }, other, new RunFolder(In("run"))).Run(null, Ct);
        Assert.Equal(new BestWeights(15, 99 * 1.75, "4 of toy"), Best("run").Read());
    }

    [Fact]
    public void Best_weights_need_not_be_kept_and_an_item_need_not_be_readable()
    {
        using (var training = new ToyTraining(Config, new RunFolder(In("run"))) { HeldOutCount = 3, IsBestKept = false, Unreadable = 1 })
            new TrainingLoop(Config, training, new RunFolder(In("run"))).Run(null, Ct);
        Assert.False(Directory.Exists(In("run", "best")));
        Assert.Equal(5, Losses("run").Count);
        Assert.All(Losses("run"), line => Assert.All(line.Values, value => Assert.True(double.IsFinite(value))));
    }

    [Fact]
    public void Nothing_held_out_is_nothing_measured()
    {
        using (var training = new ToyTraining(Config, new RunFolder(In("run"))))
            new TrainingLoop(Config, training, new RunFolder(In("run"))).Run(null, Ct);
        Assert.Empty(Losses("run"));
        Assert.False(Directory.Exists(In("run", "best")));
        using var state = SafetensorsFile.Open(new RunFolder(In("run")).LatestState!);
        Assert.DoesNotContain(state.Metadata.Keys, key => key.StartsWith("best", StringComparison.Ordinal));
    }

    [Fact]
    public void A_state_with_an_impossible_best_loss_is_refused()
    {
        Train(Config, "run");
        var run = new RunFolder(In("run"));
        using (var scope = new TensorScope())
        {
            using var state = SafetensorsFile.Open(run.LatestState!);
            SafetensorsWriter.Write(run.StateFile(15), [.. state.Entries.Keys.Select(key => (key, state.Read(key)))], new Dictionary<string, string>(state.Metadata) { ["best_loss"] = "small" });
        }

        var error = Assert.Throws<CheckpointException>(() => Train(Config, "run"));
        FaultAssert.Is(error, "state_number_invalid", ("file", run.StateFile(15)), ("key", "best_loss"));
    }

    [Theory]
    [InlineData(2, TrainingPrecision.Float32)]
    [InlineData(4, TrainingPrecision.Float32)]
    [InlineData(3, TrainingPrecision.Bfloat16)]
    public async Task Processes_divide_the_items_and_come_to_the_same_loss_with_every_shard(int ranks, TrainingPrecision precision)
    {
        foreach (var shard in Enum.GetValues<SharedState>())
        {
            var config = Config with { Precision = precision, Shard = shard };
            var weights = await Ranks.RunAsync(ranks, Path.Combine(folder.Path, Guid.NewGuid().ToString("N")), group => Together(config, shard.ToString(), group));
            Assert.All(weights, own => Assert.Equal(weights[0], own));

            // They go on together, also where the best weights are to be kept again.
            Directory.Delete(In(shard.ToString(), "best"), recursive: true);
            await Ranks.RunAsync(ranks, Path.Combine(folder.Path, Guid.NewGuid().ToString("N")), group => Together(config with { Steps = 15 }, shard.ToString(), group));
        }

        var expected = Losses(nameof(SharedState.None));
        Assert.Equal([0, 4, 8, 12, 14, 15], expected.Select(line => line.Step));
        foreach (var shard in new[] { SharedState.Optimizer, SharedState.Gradients })
        {
            Assert.Equal(expected, Losses(shard.ToString()), (a, b) => a.Step == b.Step && a.Values.SequenceEqual(b.Values));
            foreach (var file in new[] { "state-00000015.safetensors", "best/toy.safetensors", "best/run.json" })
                Assert.Equal(await File.ReadAllBytesAsync(In(nameof(SharedState.None), file), Ct), await File.ReadAllBytesAsync(In(shard.ToString(), file), Ct));
        }

        // One process measures the same weights to the same bits.
        using var alone = new ToyTraining(Config with { Precision = precision }, new RunFolder(In("alone"))) { HeldOutCount = 3 };
        using (var scope = new TensorScope())
        using (var file = SafetensorsFile.Open(In(nameof(SharedState.None), "toy.safetensors")))
            alone.Parts[0].Parameters.Load(Tensor.Cat([file.Read("weight").Flatten(0), file.Read("bias")], 0));
        Assert.Equal(expected[^1].Values, alone.HeldOut!.Measure(null).Named.Select(value => value.Value));
    }

    [Fact]
    public void Measurements_leave_no_tensor_behind()
    {
        var live = new List<(long Count, long Bytes)>();
        Train(Config with { Steps = 90, CheckpointEvery = 3 }, "run", batch =>
        {
            if (batch.Step % 20 == 19)
                live.Add((Tensor.LiveCount, TorchRuntime.CpuMemory.InUse));
        });
        Assert.Equal(live[0], live[^1]);
    }

    private static void Stop(CancellationTokenSource source, bool now)
    {
        if (now)
            source.Cancel();
    }

    private string In(params string[] names) => Path.Combine([folder.Path, .. names]);

    private BestFolder Best(string name) => new(new RunFolder(In(name)));

    private ToyTraining Make(ToyConfig config, string name, Action<MicroBatch>? begin = null, Func<double>? loss = null) =>
        new(config, new RunFolder(In(name))) { HeldOutCount = 3, Begin = begin ?? (_ => { }), HeldOutLoss = loss };

    private void Train(ToyConfig config, string name, Action<MicroBatch>? begin = null, CancellationTokenSource? stop = null)
    {
        using var training = Make(config, name, begin);
        new TrainingLoop(config, training, new RunFolder(In(name))).Run(null, stop?.Token ?? Ct);
    }

    private float[] Together(ToyConfig config, string name, ProcessGroup group)
    {
        var run = new RunFolder(In(name));
        using var training = new ToyTraining(config, run, group: group) { HeldOutCount = 3 };
        new TrainingLoop(config, training, run, group).Run(null, Ct);
        return training.Weights;
    }

    private List<(long Step, double[] Values)> Losses(string name) => [.. File.ReadLines(In(name, "metrics.jsonl"))
        .Select(line => JsonElement.Parse(line)).Where(line => line.TryGetProperty(Names[0], out _))
        .Select(line => (line.GetProperty("step").GetInt64(), Names.Select(key => line.GetProperty(key).GetDouble()).ToArray()))];

    private sealed class Notes(List<string> all) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => all.AddRange(value.Note is { } note ? [note] : Array.Empty<string>());
    }
}
