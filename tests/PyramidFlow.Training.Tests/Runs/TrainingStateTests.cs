using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Runs;

namespace PyramidFlow.Training.Tests.Runs;

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
        Assert.Contains("another configuration",
            Assert.Throws<CheckpointException>(() => small.State.Load(folder.File("state.safetensors"), "other")).Message, StringComparison.Ordinal);
        using var large = new Layer(seed: 1, outputs: 5);
        Assert.Contains("another model",
            Assert.Throws<CheckpointException>(() => large.State.Load(folder.File("state.safetensors"), "run")).Message, StringComparison.Ordinal);
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
