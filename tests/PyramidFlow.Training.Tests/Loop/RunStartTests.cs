using PyramidFlow.Testing;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

/// <summary>The first line of a run.</summary>
public sealed class RunStartTests : IDisposable
{
    private static readonly ToyConfig Config = new() { WarmUpSteps = 4, Schedule = Torch.LearningRateShape.Cosine };
    private static readonly TrainingData Data = new(5, 1, "64x64x9", "a1b2", "2", 2);

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_new_run_tells_data_epochs_weights_and_rate()
    {
        var line = Start(Config, Data);
        Assert.StartsWith("5 items of 64x64x9, 1 left out; 12 steps are 4.8 epochs; 20 weights are trained; rate 0.01 after 4 steps of warm-up, 0.0008", line, StringComparison.Ordinal);
        Assert.Contains(" MiB of tensors before the first step; a new run", line, StringComparison.Ordinal);
    }

    [Fact]
    public void A_warm_up_that_outlasts_the_run_is_told() =>
        Assert.Contains("the rate rises to 0.00012, not to 0.01, because the warm-up of 1000 steps", Start(Config with { WarmUpSteps = 1000 }, Data), StringComparison.Ordinal);

    [Fact]
    public void What_changed_since_the_run_was_stopped_is_named()
    {
        Start(Config, Data, stopAt: 6);
        Assert.EndsWith("; goes on from step 7", Start(Config, Data, stopAt: 7), StringComparison.Ordinal);

        var line = Start(Config with { LearningRate = 0.02, Steps = 20 }, Data with { Items = 6, Digest = "c3", Batch = "4" }, stopAt: 9);
        Assert.EndsWith("; goes on from step 8, changed since: other data, items 5 -> 6, batch 2 -> 4, steps 12 -> 20, learning_rate 0.01 -> 0.02", line, StringComparison.Ordinal);
    }

    [Fact]
    public void A_finished_run_says_so()
    {
        Start(Config, null);
        Assert.EndsWith("the run is finished, step 12 of 12: raise steps to go on", Start(Config, null), StringComparison.Ordinal);
    }

    [Fact]
    public void A_damaged_record_of_the_earlier_start_does_not_stop_the_run()
    {
        Start(Config, Data, stopAt: 6);
        folder.Write("run/run.json", "{ \"batch\": ");
        Assert.EndsWith("; goes on from step 7", Start(Config, Data), StringComparison.Ordinal);
        Assert.Contains("\"batch\": \"2\"", File.ReadAllText(folder.File("run", "run.json")), StringComparison.Ordinal);
    }

    // The first line of a start.
    private string Start(ToyConfig config, TrainingData? data, long? stopAt = null)
    {
        using var stop = new CancellationTokenSource();
        var run = new RunFolder(folder.File("run"));
        using var training = new ToyTraining(config, run)
        {
            Data = data,
            Begin = batch =>
            {
                if (batch.Step == stopAt)
                    stop.Cancel();
            },
        };
        var lines = new List<string>();
        new TrainingLoop(config, training, run).Run(new Lasting(lines), stop.Token);
        return Assert.Single(lines);
    }

    private sealed class Lasting(List<string> lines) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value)
        {
            if (value.IsLasting)
                lines.Add(value.Note!);
        }
    }
}
