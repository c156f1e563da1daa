using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Scheduling;

public class CleanGuessTests
{
    [Theory]
    [InlineData(0, 1.0)]
    [InlineData(1, 0.5)]
    [InlineData(2, 0.25)]
    [InlineData(2, 0.0)]
    public void On_a_straight_flow_the_guess_is_the_data(int stage, double sigma)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(3);
        var scheduler = new PyramidFlowScheduler();
        var (data, noise) = (Tensor.Randn([1, 4, 1, 2, 2], generator), Tensor.Randn([1, 4, 1, 2, 2], generator));
        var (start, end) = (scheduler.Stages[stage].Start, scheduler.Stages[stage].End);
        var share = end + (sigma * (start - end));

        var guess = scheduler.Clean(stage, (noise * share) + (data * (1 - share)), (noise - data) * (start - end), sigma);

        GoldenTensors.AssertClose(data, guess, 1e-5, 1e-5, "guess");
    }
}
