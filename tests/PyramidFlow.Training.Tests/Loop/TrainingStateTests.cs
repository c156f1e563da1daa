using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

public sealed class TrainingStateTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_saved_state_goes_on_as_if_never_stopped()
    {
        using var first = new Layer(seed: 1);
        first.Train(3);
        first.State.Save(folder.File("state.safetensors"), "run");
        first.Train(2);

        using var second = new Layer(seed: 2);
        second.State.Load(folder.File("state.safetensors"), "run");
        Assert.Equal(3, second.State.Step);
        second.Train(2);
        Assert.Equal(first.Part.Parameters.Values.ToArray<float>(), second.Part.Parameters.Values.ToArray<float>());
        Assert.Equal(first.Part.Average!.Values.ToArray<float>(), second.Part.Average!.Values.ToArray<float>());
        Assert.Equal(first.Part.Optimizer.SecondMoment.ToArray<float>(), second.Part.Optimizer.SecondMoment.ToArray<float>());
    }

    [Fact]
    public void Another_run_or_another_size_is_refused()
    {
        using var small = new Layer(seed: 1);
        small.State.Save(folder.File("state.safetensors"), "run");
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => small.State.Load(folder.File("state.safetensors"), "other")),
            "state_of_other_run", ("file", folder.File("state.safetensors")));
        using var large = new Layer(seed: 1, outputs: 5);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => large.State.Load(folder.File("state.safetensors"), "run")),
            "state_of_other_model", ("file", folder.File("state.safetensors")), ("key", "values"));
    }

    [Theory]
    [InlineData("step", "-1")]
    [InlineData("step", "three")]
    [InlineData("optimizer_steps", "-5")]
    [InlineData("spikes", "{}", "values is missing")]
    [InlineData("spikes", "null", "this is null")]
    [InlineData("spikes", "{\"skipped\":0,\"in_a_row\":0,\"values\":null}", "values is null")]
    [InlineData("spikes", "{\"skipped\":0,\"in_a_row\":0,\"values\":{\"loss\":null}}", "values.loss is null")]
    [InlineData("spikes", "{\"skipped\":-1,\"in_a_row\":0,\"values\":{}}", "impossible")]
    [InlineData("spikes", "{\"skipped\":0,\"in_a_row\":0,\"values\":{\"loss\":[NaN]}}", "a number")]
    [InlineData("spikes", "cut", "not JSON")]
    public void A_damaged_state_says_so_and_changes_nothing(string key, string value, string? reason = null)
    {
        using var first = new Layer(seed: 1);
        first.Train(3);
        first.State.Save(folder.File("state.safetensors"), "run");
        Rewrite(folder.File("state.safetensors"), key, value);

        using var second = new Layer(seed: 2);
        var before = second.Part.Parameters.Values.ToArray<float>();
        var error = Assert.Throws<CheckpointException>(() => second.State.Load(folder.File("state.safetensors"), "run"));
        FaultAssert.Is(error, reason is null ? "state_number_invalid" : "state_history_malformed", ("file", folder.File("state.safetensors")));
        Assert.Equal(key, error.Parameters["key"]);
        Assert.Contains(reason ?? value, (string)error.Parameters[reason is null ? "value" : "reason"]!, StringComparison.Ordinal);
        Assert.DoesNotContain("System", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, second.Part.Parameters.Values.ToArray<float>());
        Assert.Equal(0, second.State.Step);
        Assert.Null(second.State.Guard.Judge(("loss", 1)));
    }

    private static void Rewrite(string path, string key, string value)
    {
        using var scope = new TensorScope();
        Dictionary<string, string> metadata;
        List<(string, Tensor)> tensors;
        using (var file = SafetensorsFile.Open(path))
        {
            metadata = new(file.Metadata) { [key] = value };
            tensors = [.. file.Entries.Values.Select(entry => (entry.Name, file.Read(entry.Name).Clone()))];
        }

        SafetensorsWriter.Write(path, tensors, metadata);
    }

    [Fact]
    public void Draws_follow_from_seed_and_step()
    {
        using var scope = new TensorScope();
        Assert.Equal(Numbers(1, 5), Numbers(1, 5));
        Assert.NotEqual(Numbers(1, 5), Numbers(1, 6));
        Assert.NotEqual(Numbers(1, 5), Numbers(2, 5));
    }

    private static float[] Numbers(long seed, long step)
    {
        using var draws = TrainingState.Draws(seed, step);
        return Tensor.Randn([4], draws).ToArray<float>();
    }

    private sealed class Layer : IDisposable
    {
        private readonly Linear linear;

        public Layer(ulong seed, int outputs = 3)
        {
            using var generator = new RandomGenerator(seed);
            linear = new Linear(4, outputs);
            linear.Initialize(generator);
            Part = new TrainingPart("", new ToyConfig(), null, ("", linear));
            State = new TrainingState([Part], new SpikeGuard(10));
        }

        public TrainingPart Part { get; }

        public TrainingState State { get; }

        public void Train(int steps)
        {
            for (var i = 0; i < steps; i++)
            {
                using var scope = new TensorScope();
                using var draws = TrainingState.Draws(1, State.Step);
                linear.Forward(Tensor.Randn([2, 4], draws)).Pow(2).Mean().Backward();
                Part.Optimizer.Step(0.01);
                Part.Parameters.ZeroGradients();
                Part.Average!.Update(Part.Parameters, 0.9);
                State.Step++;
            }
        }

        public void Dispose()
        {
            Part.Dispose();
            linear.Dispose();
        }
    }
}
