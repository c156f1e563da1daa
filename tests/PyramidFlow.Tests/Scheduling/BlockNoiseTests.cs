using PyramidFlow.Scheduling;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Scheduling;

public class BlockNoiseTests
{
    [Fact]
    public void Blocks_sum_to_zero_at_a_third()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(1);
        var noise = BlockNoise.Draw([2, 3, 2, 8, 6], BlockNoise.MaxGamma, generator);
        var sums = noise.Reshape(2, 3, 2, 4, 2, 3, 2).Sum([4, 6]);
        Assert.True(sums.Abs().Max().Item() < 1e-5);
        Assert.InRange((noise * noise).Mean().Item(), 0.7, 1.3);
    }

    // The plain form, number by number.
    [Theory]
    [InlineData(0)]
    [InlineData(0.2)]
    [InlineData(BlockNoise.MaxGamma)]
    public void A_share_of_its_mean_is_taken_from_every_block(double gamma)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(1);
        var z = Tensor.Randn([3, 4, 6], generator);
        var (given, made) = (z.ToArray<float>(), BlockNoise.FromNormal(z, gamma));
        var share = 1 - Math.Sqrt(Math.Max(0, 1 - (3 * gamma)) / (1 + gamma));

        Assert.Equal([3, 4, 6], made.Shape);
        Assert.All(made.ToArray<float>().Index(), value =>
        {
            var (plane, row, column) = (value.Index / 24, value.Index / 6 % 4, value.Index % 6);
            var mean = (At(0, 0) + At(0, 1) + At(1, 0) + At(1, 1)) / 4;
            Assert.Equal(Math.Sqrt(1 + gamma) * (given[value.Index] - (share * mean)), value.Item, 1e-5);

            double At(int down, int right) => given[(plane * 24) + (((row / 2 * 2) + down) * 6) + (column / 2 * 2) + right];
        });
    }

    [Fact]
    public void Upsampled_noise_renoised_is_white()
    {
        // alpha * up2(x) + beta * n with x the sample at a stage's end must have the variances of the next stage's start.
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(2);
        var scheduler = new PyramidFlowScheduler();
        var (alpha, beta) = scheduler.RenoiseFactors(1);
        var sigma = scheduler.Stages[0].End;
        var noise = Tensor.Randn([1, 1, 256, 256], generator) * sigma;
        var jumped = noise.InterpolateNearest(512, 512) * alpha + BlockNoise.Draw([1, 1, 512, 512], scheduler.Options.Gamma, generator) * beta;
        var pairs = jumped.Reshape(256, 2, 256, 2);
        var left = pairs.Select(3, 0);
        var right = pairs.Select(3, 1);
        Assert.InRange((jumped * jumped).Mean().Item(), 0.97 * Math.Pow(scheduler.Stages[1].Start, 2), 1.03 * Math.Pow(scheduler.Stages[1].Start, 2));
        Assert.InRange((left * right).Mean().Item(), -0.01, 0.01);
    }

    [Fact]
    public void Refuses_a_gamma_that_is_no_covariance()
    {
        using var generator = new RandomGenerator(3);
        Assert.Throws<ArgumentOutOfRangeException>(() => BlockNoise.Draw([2, 2], 0.5, generator));
        Assert.Throws<ArgumentException>(() => new PyramidFlowScheduler(new FlowOptions { Gamma = 0 }));
    }

    [Fact]
    public void Refuses_a_stage_range_that_does_not_rise()
    {
        var error = Assert.Throws<ArgumentException>(() => new PyramidFlowScheduler(new FlowOptions { StageRange = [0, 0.6, 0.4, 1] }));
        Assert.Contains("4 rising numbers", error.Message, StringComparison.Ordinal);
    }
}
