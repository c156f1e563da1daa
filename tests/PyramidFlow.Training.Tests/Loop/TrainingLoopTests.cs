using System.Text.Json;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

public sealed class TrainingLoopTests : IDisposable
{
    private static readonly ToyConfig Config = new();

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(TrainingPrecision.Float32)]
    [InlineData(TrainingPrecision.Bfloat16)]
    public void Interrupted_and_resumed_equals_uninterrupted_bit_for_bit(TrainingPrecision precision)
    {
        var config = Config with { Accumulation = 2, Precision = precision };
        Train(config, "whole");
        using (var stop = new CancellationTokenSource())
            Train(config, "parts", begin: batch => StopAt(stop, batch, 6), stop: stop);
        Assert.Equal(7, StepsOf("parts"));
        Assert.Equal([3, 6, 7], Steps("parts", "loss").Select(line => line.Step));
        Train(config, "parts");
        Assert.Equal([3, 6, 7, 9, 12], Steps("parts", "loss").Select(line => line.Step));

        foreach (var file in new[] { "state-00000012.safetensors", "toy.safetensors" })
            Assert.Equal(File.ReadAllBytes(In("whole", file)), File.ReadAllBytes(In("parts", file)));
    }

    [Fact]
    public void Accumulated_batches_are_one_large_batch()
    {
        // Workers draw what neighbouring batches do: two of them in one batch are two batches of one.
        using var workers = Train(Config with { Workers = 2 }, "workers");
        using var batches = Train(Config with { Accumulation = 2 }, "batches");
        Assert.All(workers.Weights.Zip(batches.Weights), pair => Assert.Equal(pair.First, pair.Second, 1e-6f));
    }

    [Fact]
    public void A_loss_that_is_not_a_number_stops_the_run_and_saves_its_batch()
    {
        var error = Assert.Throws<TrainingException>(() => Train(Config, "run", factor: batch => batch.Step == 6 ? double.NaN : 1));
        FaultAssert.Is(error, "loss_not_finite", ("step", 6L), ("names", "loss, twice, gradient_norm"), ("file", In("run", "nan-step-6.safetensors")));
        Assert.DoesNotContain('\n', error.Message);
        using var scope = new TensorScope();
        using (var batch = SafetensorsFile.Open(In("run", "nan-step-6.safetensors")))
            Assert.True(float.IsNaN(batch.Read("batch_0.x").ToArray<float>()[0]));
        Assert.Equal(4, StepsOf("run"));

        // Without the fault the run goes on from there as if nothing had been.
        Train(Config, "run");
        Train(Config, "whole");
        Assert.Equal(File.ReadAllBytes(In("whole", "toy.safetensors")), File.ReadAllBytes(In("run", "toy.safetensors")));
    }

    [Fact]
    public void A_run_that_begins_with_a_weight_that_is_no_number_names_it()
    {
        using var training = Make(Config, "run", _ => 1, _ => { });
        using (new TensorScope())
            training.Parts[0].Parameters.Values.Narrow(0, 3, 1).Fill(double.NaN);
        var error = Assert.Throws<TrainingException>(() => new TrainingLoop(Config, training, new RunFolder(In("run"))).Run(null, CancellationToken.None));
        FaultAssert.Is(error, "weight_not_finite", ("step", 0L), ("weight", "weight"));
    }

    [Fact]
    public void A_step_far_above_the_usual_is_skipped_and_counted()
    {
        var config = Config with { Steps = 31, CheckpointEvery = 30, LogEvery = 1 };
        float[]? before = null;
        ToyTraining? training = null;
        using (training = Make(config, "run", batch => batch.Step == 30 ? 100 : 1, batch => before = batch.Step == 30 ? training!.Weights : before))
            new TrainingLoop(config, training, new RunFolder(In("run"))).Run(null, CancellationToken.None);
        Assert.Equal(before, ReadValues("run", 31));
        Assert.Equal([1.0], Steps("run", "skipped_steps").Where(step => step.Step == 31).Select(step => step.Value).Distinct());
        Assert.Contains("skipped steps   1", File.ReadAllText(In("run", "summary.txt")), StringComparison.Ordinal);
    }

    [Fact]
    public void The_newest_states_and_every_so_manieth_are_kept()
    {
        Train(Config with { Steps = 10, CheckpointEvery = 1, KeepLast = 2, KeepEvery = 4 }, "run");
        var states = Directory.GetFiles(In("run"), "state-*").Select(Path.GetFileName).Order();
        Assert.Equal(new[] { 4, 8, 9, 10 }.Select(step => $"state-{step:D8}.safetensors"), states);
    }

    [Fact]
    public void A_checkpoint_that_cannot_be_written_leaves_the_one_before()
    {
        Directory.CreateDirectory(In("run", "state-00000008.safetensors"));
        var error = Assert.Throws<TrainingException>(() => Train(Config, "run"));
        FaultAssert.Is(error, "step_not_written", ("what", "checkpoint"), ("step", 8L), ("saved", 4L));
        Assert.DoesNotContain(Directory.GetFiles(In("run")), file => file.Contains(".partial-", StringComparison.Ordinal));

        Directory.Delete(In("run", "state-00000008.safetensors"));
        Train(Config, "run");
        Train(Config, "whole");
        Assert.Equal(File.ReadAllBytes(In("whole", "toy.safetensors")), File.ReadAllBytes(In("run", "toy.safetensors")));
    }

    [Fact]
    public void Samples_are_made_every_so_many_steps_and_their_place_is_told()
    {
        var told = new Notes();
        using var training = Make(Config with { SampleEvery = 5 }, "run");
        new TrainingLoop(Config with { SampleEvery = 5 }, training, new RunFolder(In("run"))).Run(told, CancellationToken.None);
        var sheets = Directory.GetFiles(In("run", "samples")).Order().ToList();
        Assert.Equal([5, 10], sheets.Select(path => int.Parse(Path.GetFileNameWithoutExtension(path)["step-".Length..], System.Globalization.CultureInfo.InvariantCulture)));
        Assert.Equal(sheets.Select(path => $"samples are in {path}"), told.All.Where(note => note.Contains("samples", StringComparison.Ordinal)));
        Assert.Contains($"samples         {sheets[^1]}", File.ReadAllText(In("run", "summary.txt")), StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_stopped_while_it_samples_saves_what_it_has()
    {
        var config = Config with { SampleEvery = 5 };
        using var stop = new CancellationTokenSource();
        using (var training = new ToyTraining(config, new RunFolder(In("run"))) { Sampling = _ => stop.Cancel() })
            new TrainingLoop(config, training, new RunFolder(In("run"))).Run(null, stop.Token);
        Assert.Equal(5, StepsOf("run"));
        Assert.Empty(Directory.GetFiles(In("run", "samples")));
    }

    [Fact]
    public void Samples_that_cannot_be_written_are_told_and_the_run_goes_on()
    {
        var (config, told) = (Config with { SampleEvery = 12 }, new Notes());
        using var training = new ToyTraining(config, new RunFolder(In("run"))) { Sampling = path => Directory.CreateDirectory(path) };
        new TrainingLoop(config, training, new RunFolder(In("run"))).Run(told, CancellationToken.None);
        Assert.Equal(12, StepsOf("run"));
        Assert.Single(told.All, note => note.StartsWith("the samples of step 12 cannot be made: ", StringComparison.Ordinal));
    }

    [Fact]
    public void The_folder_of_another_model_is_refused()
    {
        Train(Config, "run");
        using var other = new ToyTraining(Config, new RunFolder(In("run")), inputs: 5);
        var error = Assert.Throws<CheckpointException>(() => new TrainingLoop(Config, other, new RunFolder(In("run"))));
        FaultAssert.Is(error, "state_of_other_model", ("key", "values"));
    }

    [Fact]
    public void Two_trainings_do_not_share_a_folder()
    {
        var run = new RunFolder(In("run"));
        using (run.Hold())
            FaultAssert.Is(Assert.Throws<TrainingException>(() => Train(Config, "run")), "run_in_use", ("folder", In("run")));
        Train(Config, "run");
    }

    [Fact]
    public void Data_that_fails_between_checkpoints_loses_no_step()
    {
        using var whole = Train(Config, "whole");
        AssertDataFails("run", 6);
        Assert.True(File.Exists(In("run", "state-00000006.safetensors")));
        using var resumed = Train(Config, "run");
        Assert.Equal(whole.Weights, resumed.Weights);
    }

    [Fact]
    public void Data_that_fails_is_named_where_no_state_can_be_saved_and_before_the_first_step_there_is_none()
    {
        AssertDataFails("first", 0);
        Assert.Empty(Directory.GetFiles(In("first"), "state-*"));
        Directory.CreateDirectory(In("run", "state-00000006.safetensors"));
        AssertDataFails("run", 6);
        Assert.Equal(4, StepsOf("run"));
    }

    private void AssertDataFails(string run, long step) => FaultAssert.Is(Assert.Throws<TrainingException>(() => Train(Config, run, begin: batch =>
    {
        if (batch.Step == step)
            throw TrainingFault.FileMissing("clip.mp4");
    })), "file_missing");

    [Fact]
    public void A_damaged_state_is_named_with_the_one_before_it()
    {
        Train(Config with { Steps = 4 }, "run");
        Train(Config, "run");
        File.WriteAllText(In("run", "state-00000012.safetensors"), "half a state");
        FaultAssert.Is(Assert.Throws<TrainingException>(() => Train(Config, "run")), "state_damaged", ("file", In("run", "state-00000012.safetensors")), ("earlier", 8L));
        File.Delete(In("run", "state-00000012.safetensors"));
        Train(Config, "run");
        Assert.True(File.Exists(In("run", "state-00000012.safetensors")));
    }

    [Fact]
    public void What_a_killed_run_left_behind_is_cleared_away()
    {
        Train(Config with { Steps = 4 }, "run");
        File.AppendAllText(In("run", "metrics.jsonl"), "{\"step\": 6, \"loss\": 1}\n{\"step\": 7, \"lo");
        File.WriteAllText(In("run", "state-00000008.safetensors.partial-1"), "half");
        Train(Config, "run");
        Assert.Equal([3, 4, 4, 6, 8, 9, 12, 12], File.ReadLines(In("run", "metrics.jsonl")).Select(line => JsonElement.Parse(line).GetProperty("step").GetInt64()));
        Assert.False(File.Exists(In("run", "state-00000008.safetensors.partial-1")));
    }

    [Fact]
    public void Weights_step_in_float32_where_bfloat16_is_computed_in()
    {
        using var wide = Train(Config, "wide");
        using var narrow = Train(Config with { Precision = TrainingPrecision.Bfloat16 }, "narrow");
        Assert.Equal(ElementType.Float32, narrow.Parts[0].Parameters.Values.Type);
        Assert.NotEqual(wide.Weights, narrow.Weights);
        Assert.All(wide.Weights.Zip(narrow.Weights), pair => Assert.Equal(pair.First, pair.Second, 5e-3f));
    }

    [Fact]
    public void Steps_leave_no_tensor_behind()
    {
        var live = new List<(long Count, long Bytes)>();
        Train(Config with { Steps = 300, CheckpointEvery = 50, Accumulation = 2 }, "run", begin: batch =>
        {
            if (batch.Step % 100 == 99)
                live.Add((Tensor.LiveCount, TorchRuntime.CpuMemory.InUse));
        });
        Assert.Equal(live[0], live[^1]);
    }

    [Theory]
    [InlineData(0, 1, "key=steps value=0 least=1")]
    [InlineData(1, 0.5, "key=spike_factor value=0.5 limit=1")]
    public void Impossible_values_are_named(int steps, double spikes, string parameters) =>
        FaultAssert.Has((Config with { Steps = steps, SpikeFactor = spikes }).Fault!, "config_value_invalid", parameters);

    private sealed class Notes : IProgress<TrainingProgress>
    {
        public List<string> All { get; } = [];

        public void Report(TrainingProgress value) => All.AddRange(value.Note is { } note ? [note] : Array.Empty<string>());
    }

    private static void StopAt(CancellationTokenSource source, MicroBatch batch, long step)
    {
        if (batch.Step == step)
            source.Cancel();
    }

    private string In(params string[] names) => Path.Combine([folder.Path, .. names]);

    private ToyTraining Make(ToyConfig config, string name, Func<MicroBatch, double>? factor = null, Action<MicroBatch>? begin = null) =>
        new(config, new RunFolder(In(name))) { Factor = factor ?? (_ => 1), Begin = begin ?? (_ => { }) };

    private ToyTraining Train(ToyConfig config, string name, Func<MicroBatch, double>? factor = null, Action<MicroBatch>? begin = null,
        CancellationTokenSource? stop = null)
    {
        var training = Make(config, name, factor, begin);
        new TrainingLoop(config, training, new RunFolder(In(name))).Run(null, stop?.Token ?? CancellationToken.None);
        return training;
    }

    private long StepsOf(string name)
    {
        using var file = SafetensorsFile.Open(new RunFolder(In(name)).LatestState!);
        return long.Parse(file.Metadata["step"], System.Globalization.CultureInfo.InvariantCulture);
    }

    private float[] ReadValues(string name, long step)
    {
        using var scope = new TensorScope();
        using var file = SafetensorsFile.Open(new RunFolder(In(name)).StateFile(step));
        return file.Read("values").ToArray<float>();
    }

    private List<(long Step, double Value)> Steps(string name, string key) => [.. File.ReadLines(In(name, "metrics.jsonl"))
        .Select(line => JsonElement.Parse(line)).Where(line => line.TryGetProperty(key, out _))
        .Select(line => (line.GetProperty("step").GetInt64(), line.GetProperty(key).GetDouble()))];
}
