using System.Text.Json;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Training.Tests.Loop;

/// <summary>Values that a configuration leaves to the program.</summary>
public sealed class LoopDefaultsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(20, 1, 1)]
    [InlineData(21, 2, 2)]
    [InlineData(2000, 100, 100)]
    [InlineData(20_000, 1000, 1000)]
    [InlineData(int.MaxValue, 1000, 2000)]
    public void Warm_up_is_a_twentieth_of_the_steps_up_to_a_limit(int steps, int transformer, int vae)
    {
        Assert.Equal(transformer, Dit($"\"steps\": {steps}").WarmUpSteps);
        Assert.Equal(vae, VaeConfig.Load(folder.Write("vae.json",
            $$"""{ "data": { "annotations": "a.jsonl" }, "perceptual_weight": 0, "steps": {{steps}} }""")).WarmUpSteps);
        Assert.Equal(0, Dit($"\"steps\": {steps}, \"warm_up_steps\": 0").WarmUpSteps);
    }

    [Theory]
    [InlineData(9, 0)]
    [InlineData(10, 1)]
    [InlineData(20, 1)]
    [InlineData(21, 2)]
    [InlineData(1280, 64)]
    [InlineData(100_000, 64)]
    public void A_twentieth_of_the_items_is_held_out_up_to_a_limit(int items, int heldOut)
    {
        Assert.Equal(heldOut, Dit("\"steps\": 20").HeldOutOf(items));
        Assert.Equal(3, Dit("\"held_out\": 3").HeldOutOf(items));
        FaultAssert.Has(Assert.Throws<TrainingException>(() => Dit("\"held_out\": -1")), "config_value_invalid", "key=held_out value=-1 least=0");
    }

    [Theory]
    [InlineData("\"seed\": 1", 1, 1)]
    [InlineData("\"seed\": 1", 4, 1)]
    [InlineData("\"seed\": 1", 7, 1)]
    [InlineData("\"seed\": 1", 16, 8)]
    [InlineData("\"video_sync_group\": 8", 4, 4)]
    [InlineData("\"video_sync_group\": 2", 4, 2)]
    [InlineData("\"video_sync_group\": 8, \"objective\": \"full_sequence\"", 8, 1)]
    [InlineData("\"video_sync_group\": 8, \"batches_per_step\": 8", 8, 1)]
    public void Few_processes_have_clips_of_their_own(string addition, int processes, int sharing) => Assert.Equal(sharing, Dit(addition).SharingOf(processes));

    [Fact]
    public void A_lora_has_a_rate_of_its_own()
    {
        Assert.Equal(5e-5, Dit("\"steps\": 20").LearningRate);
        Assert.Equal(1e-4, Dit("\"lora\": { \"rank\": 4 }").LearningRate);
        Assert.Equal(3e-5, Dit("\"lora\": { \"rank\": 4 }, \"learning_rate\": 3e-5").LearningRate);
        Assert.Equal(2, Dit("\"steps\": 20").KeepLast);
    }

    [Fact]
    public void A_short_run_reaches_its_rate()
    {
        Train(new ToyConfig { Steps = 20, LogEvery = 1 });
        Assert.Equal(Enumerable.Repeat(0.01, 20), Rates().Select(line => line.Rate));
    }

    [Fact]
    public void A_run_with_more_steps_goes_on_with_the_rate_and_warm_up_that_it_began_with()
    {
        Train(new ToyConfig { Steps = 4, LogEvery = 1 });
        Train(new ToyConfig { Steps = 60, LogEvery = 1 });
        Assert.Equal(Enumerable.Repeat(0.01, 60), Rates().Select(line => line.Rate));

        // A value that the configuration gives counts.
        Train(new ToyConfig { Steps = 62, LogEvery = 1, LearningRate = 0.02 });
        Assert.Equal([0.02, 0.02], Rates().Where(line => line.Step > 60).Select(line => line.Rate));
    }

    [Fact]
    public void A_state_without_these_values_goes_on_as_the_version_that_wrote_it()
    {
        var run = State([]);
        var config = Dit("\"lora\": { \"rank\": 4 }, \"steps\": 20").GoingOn(run);
        Assert.Equal((5e-5, 1000), (config.LearningRate, config.WarmUpSteps));
        config = Dit("\"lora\": { \"rank\": 4 }, \"steps\": 20, \"learning_rate\": 2e-5, \"warm_up_steps\": 7").GoingOn(run);
        Assert.Equal((2e-5, 7), (config.LearningRate, config.WarmUpSteps));

        // Up to 8 processes shared their clips, and nothing was held out.
        Assert.Equal((4, 8), (config.SharingOf(4), config.SharingOf(16)));
        Assert.Equal(1, Dit("\"steps\": 20").GoingOn(State(new() { ["video_sync_group"] = "0" })).SharingOf(4));
        Assert.Equal(0, config.HeldOut);
        Assert.Equal(2, Dit("\"held_out\": 2").GoingOn(run).HeldOut);
        Assert.Equal(5, Dit("\"steps\": 20").GoingOn(State(new() { ["held_out"] = "5" })).HeldOut);
    }

    [Fact]
    public void A_state_with_an_impossible_value_is_refused()
    {
        var run = State(new() { ["warm_up_steps"] = "many" });
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => Dit("\"steps\": 20").GoingOn(run)), "state_number_invalid", ("file", run.LatestState), ("key", "warm_up_steps"));
    }

    private DitConfig Dit(string addition) => DitConfig.Load(folder.Write("dit.json", $$"""{ "model": "m", "data": { "annotations": "a.jsonl" }, {{addition}} }"""));

    private RunFolder State(Dictionary<string, string> metadata)
    {
        using var scope = new TensorScope();
        var run = new RunFolder(folder.File("earlier"));
        SafetensorsWriter.Write(run.StateFile(3), [("values", Tensor.Zeros([1]))], metadata);
        return run;
    }

    private void Train(ToyConfig config)
    {
        var run = new RunFolder(folder.File("run"));
        config = config.GoingOn(run);
        using var training = new ToyTraining(config, run);
        new TrainingLoop(config, training, run).Run(null, TestContext.Current.CancellationToken);
    }

    private List<(long Step, double Rate)> Rates() => [.. File.ReadLines(folder.File("run", "metrics.jsonl"))
        .Select(line => JsonElement.Parse(line)).Where(line => line.TryGetProperty("learning_rate", out _))
        .Select(line => (line.GetProperty("step").GetInt64(), line.GetProperty("learning_rate").GetDouble()))];
}
