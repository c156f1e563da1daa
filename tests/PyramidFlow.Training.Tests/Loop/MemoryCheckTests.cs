using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

/// <summary>What does not fit is refused with what would, and how much memory there is.</summary>
public sealed class MemoryCheckTests : IDisposable
{
    private static readonly (Bucket, double)[] Sizes = [(new Bucket(640, 384, 121), 1)];

    private readonly TemporaryFolder folder = new();

    private static DitConfig Config => new()
    {
        Model = "pyramid-flow-miniflux", Data = new DataOptions { Annotations = ["a.jsonl"] }, Input = DitInput.Latents, Captions = CaptionForm.Features, AverageDecay = 0.99,
    };

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_training_that_fits_is_not_refused()
    {
        var needed = Plan(Config, 1).CertainBytes;
        Assert.Null(Fault(Config, needed));
        Assert.NotNull(Fault(Config, needed - 1));
        Assert.Null(MemoryCheck.Warning(Plan(Config, 1), new TrainingRoom(needed, needed, "here")));
        Assert.Contains("free now", MemoryCheck.Warning(Plan(Config, 1), new TrainingRoom(needed, needed - 1, "here")), StringComparison.Ordinal);
    }

    [Fact]
    public void The_settings_that_fit_are_named_each_for_itself()
    {
        var (whole, recomputed) = (Plan(Config, 1), Plan(Config with { CheckpointRatio = 1 }, 1));
        var error = Fault(Config, recomputed.PeakBytes)!;
        FaultAssert.Is(error, TrainingFault.MachineTooSmallCode, ("phase", "a step"));
        Assert.Equal((whole.PeakBytes, recomputed.PeakBytes, false), (error.Parameters["needed_bytes"], error.Parameters["total_bytes"], error.Parameters["together"]));
        var remedies = ((string)error.Parameters["remedies"]!).Split(' ');
        Assert.Equal("checkpoint_ratio", remedies[0]);
        Assert.Equal(remedies.Distinct(), remedies);
        // Latents and features are there already, and media are not read.
        Assert.DoesNotContain("vae_window", remedies);
        Assert.DoesNotContain("captions", remedies);
    }

    [Fact]
    public void Settings_that_fit_only_together_are_named_together()
    {
        var config = Config with { Precision = TrainingPrecision.Bfloat16 };
        var small = Plan(config with { CheckpointRatio = 1, Moments = MomentForm.EightBit, AverageDecay = 0, Shard = SharedState.Optimizer }, 8).PeakBytes;
        var error = Fault(config, small)!;
        Assert.Equal(true, error.Parameters["together"]);
        Assert.Contains("shard", (string)error.Parameters["remedies"]!, StringComparison.Ordinal);
        Assert.Equal("", Fault(Config, 1L << 30)!.Parameters["remedies"]);
    }

    [Fact]
    public void Two_settings_of_which_one_takes_more_alone_are_found_as_a_pair()
    {
        var config = Config with { CheckpointRatio = 1, Moments = MomentForm.EightBit, AverageDecay = 0 };
        // Two float32 numbers of a weight are added for bfloat16, and shared out.
        var narrow = config with { Precision = TrainingPrecision.Bfloat16 };
        Assert.True(Plan(narrow, 1).HeldBytes > Plan(config, 1).HeldBytes);
        var both = Plan(narrow with { Shard = SharedState.Optimizer }, 8).HeldBytes;
        Assert.True(both < Plan(config with { Shard = SharedState.Optimizer }, 16).HeldBytes);
        var error = Fault(config, both)!;
        Assert.Equal((true, "precision shard"), (error.Parameters["together"], error.Parameters["remedies"]));
        Assert.Contains("on 8 processes", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_least_limit_of_the_control_groups_counts_and_read_files_are_free()
    {
        var groups = folder.Write("groups", "12:memory:/outer/inner\n3:cpu:/outer\n0::/one\n");
        folder.Write("cg/memory/outer/memory.limit_in_bytes", "4000\n");
        folder.Write("cg/memory/outer/memory.usage_in_bytes", "1000\n");
        folder.Write("cg/memory/outer/memory.stat", "cache 1\ntotal_cache 400\n");
        folder.Write("cg/memory/outer/inner/memory.limit_in_bytes", "9000\n");
        folder.Write("cg/one/memory.max", "max\n");
        Assert.Equal((4000, 3400), MachineMemory.Limit(groups, folder.File("cg")));

        folder.Write("cg/memory.max", "3000\n");
        folder.Write("cg/memory.current", "2900\n");
        Assert.Equal((3000, 100), MachineMemory.Limit(groups, folder.File("cg")));
        Assert.Equal((long.MaxValue, long.MaxValue), MachineMemory.Limit(folder.File("none"), folder.File("cg")));
        Assert.InRange(MachineMemory.Available(), 1, MachineMemory.Total);
    }

    [Theory]
    [InlineData(2, SharedState.None, TrainingPrecision.Float32)]
    [InlineData(4, SharedState.Optimizer, TrainingPrecision.Bfloat16)]
    [InlineData(4, SharedState.Gradients, TrainingPrecision.Float32)]
    public async Task The_bytes_that_a_process_sends_are_planned(int ranks, SharedState shard, TrainingPrecision precision)
    {
        // Many weights, beside which losses and norms are few.
        const int inputs = 200;
        var config = new ToyConfig { Shard = shard, Precision = precision, Steps = 4 };
        var ends = await Ranks.RunAsync(ranks, folder.File("store"), group => (Short: Sent(config with { Steps = 2 }, "short", group), Long: Sent(config, "long", group)));
        var planned = new PlannedState(inputs * (inputs + 1), config.ComputeType, config, ranks, Device.Cpu).SentBytes;
        Assert.All(ends, sent => Assert.InRange((sent.Long - sent.Short) / 2.0 / planned, 0.98, 1.05));

        long Sent(ToyConfig own, string name, Torch.Distributed.ProcessGroup group)
        {
            var before = group.BytesSent;
            using var training = new ToyTraining(own, new RunFolder(folder.File(name)), inputs, group);
            new TrainingLoop(own, training, new RunFolder(folder.File(name)), group).Run(null, TestContext.Current.CancellationToken);
            return group.BytesSent - before;
        }
    }

    private static TrainingPlan Plan(DitConfig config, int ranks) => new DitPlan(config, DitModel.Named(Path.GetFullPath("c.json"), Config), Sizes, ranks, Device.Cpu) { HasEmptyFeatures = true }.Compute();

    private static TrainingException? Fault(DitConfig config, long total) =>
        MemoryCheck.Fault("c.json", config, Plan, 1, Plan(config, 1), new TrainingRoom(total, total, "this machine"), DitPlan.Changes(onGpu: false));
}
