namespace PyramidFlow.Torch.Tests;

public class OptimizerTests
{
    [Fact]
    public void AdamW_brings_a_linear_layer_to_the_target_it_is_trained_on()
    {
        using var generator = new RandomGenerator(1);
        using var layer = new Linear(4, 3);
        layer.Initialize(generator);
        using var parameters = new FlatParameters(("", layer));
        using var optimizer = new AdamW(parameters, new AdamWOptions { WeightDecay = 0 });
        using var scope = new TensorScope();
        var target = Tensor.Randn([4, 3], generator);
        var live = Tensor.LiveCount;
        var loss = double.NaN;
        for (var step = 0; step < 400; step++)
        {
            using var stepScope = new TensorScope();
            var x = Tensor.Randn([32, 4], generator);
            var error = layer.Forward(x) - x.Matmul(target);
            var mean = (error * error).Mean();
            mean.Backward();
            parameters.ClipGradients(10);
            optimizer.Step(0.02);
            parameters.ZeroGradients();
            loss = mean.Item();
        }

        Assert.InRange(loss, 0, 1e-3);
        Assert.Equal(live, Tensor.LiveCount);
    }

    [Fact]
    public void Clipping_scales_the_gradient_to_the_limit_and_reports_the_norm_before()
    {
        using var generator = new RandomGenerator(1);
        using var layer = new Linear(4, 3);
        layer.Initialize(generator);
        using var parameters = new FlatParameters(("", layer));
        parameters.Gradients.Fill(2);
        var norm = parameters.ClipGradients(1);
        Assert.Equal(2 * Math.Sqrt(15), norm, 1e-4);
        using var scope = new TensorScope();
        Assert.Equal(1, parameters.Gradients.Norm().Item(), 1e-4);
    }

    [Fact]
    public void The_average_follows_the_weights_and_swaps_with_them()
    {
        using var generator = new RandomGenerator(1);
        using var layer = new Linear(2, 1, bias: false);
        layer.Initialize(generator);
        using var parameters = new FlatParameters(("", layer));
        parameters.Values.Fill(0);
        using var average = new ExponentialAverage(parameters);
        parameters.Values.Fill(1);
        average.Update(parameters, 0.75);
        Assert.Equal([0.25f, 0.25f], parameters.With(average.Values, () => layer.Weight.Value.ToArray<float>()));
        Assert.Equal([1f, 1f], layer.Weight.Value.ToArray<float>());
    }

    [Fact]
    public void Weights_of_all_pieces_are_updated_alike()
    {
        // More than are updated together, and a short rest.
        const int count = (1 << 19) + 3;
        using var scope = new TensorScope();
        using var layer = new Linear(count, 1, bias: false);
        using var generator = new RandomGenerator(1);
        layer.Initialize(generator);
        using var parameters = new FlatParameters(("", layer));
        using var optimizer = new AdamW(parameters, new AdamWOptions { WeightDecay = 0 });
        var before = parameters.Values.ToArray<float>();
        var gradient = Tensor.Randn([count], generator);
        parameters.Gradients.CopyFrom(gradient);

        optimizer.Step(0.1);

        // The first step goes as far as the learning rate, against the gradient's sign.
        var after = parameters.Values.ToArray<float>();
        var signs = gradient.ToArray<float>();
        for (var i = 0; i < count; i += 1009)
            Assert.Equal(before[i] - (0.1f * Math.Sign(signs[i])), after[i], 1e-4f);
        Assert.Equal(before[^1] - (0.1f * Math.Sign(signs[^1])), after[^1], 1e-4f);
    }

    [Theory]
    [InlineData(LearningRateShape.Constant, 1.0, 1.0)]
    [InlineData(LearningRateShape.Cosine, 0.5, 0.0)]
    [InlineData(LearningRateShape.LinearSecondHalf, 1.0, 0.0)]
    public void Learning_rates_warm_up_and_take_their_shape(LearningRateShape shape, double middle, double end)
    {
        var rate = new LearningRate(1, 10, 110, shape);
        Assert.Equal(0.1, rate.At(0), 1e-9);
        Assert.Equal(1.0, rate.At(10), 1e-9);
        Assert.Equal(middle, rate.At(60), 1e-9);
        Assert.Equal(end, rate.At(110), 1e-9);
    }

    [Fact]
    public void A_warm_up_can_begin_at_a_rate_of_its_own_and_be_counted_in_epochs()
    {
        var rate = LearningRate.FromEpochs(1, warmUpEpochs: 1, epochs: 3, stepsPerEpoch: 5) with { WarmUpFrom = 0.2 };
        Assert.Equal([0.2, 0.4, 0.6, 0.8, 1, 1], Enumerable.Range(0, 6).Select(step => Math.Round(rate.At(step), 9)));
        Assert.Equal(15, rate.TotalSteps);
        Assert.Equal(0.2, (rate with { WarmUpSteps = 1 }).At(0));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Vectors_can_be_spared_the_weight_decay(bool matricesOnly)
    {
        using var generator = new RandomGenerator(1);
        using var first = new Linear(2, 3);
        using var second = new Linear(3, 2);
        first.Initialize(generator);
        second.Initialize(generator);
        using var parameters = new FlatParameters(("first", first), ("second", second));
        parameters.Values.Fill(1);
        using var optimizer = new AdamW(parameters, new AdamWOptions { WeightDecay = 0.5, DecayMatricesOnly = matricesOnly });
        optimizer.Step(1);
        foreach (var layer in new[] { first, second })
        {
            Assert.All(layer.Weight.Value.ToArray<float>(), w => Assert.Equal(0.5f, w));
            Assert.All(layer.Bias!.Value.ToArray<float>(), b => Assert.Equal(matricesOnly ? 1f : 0.5f, b));
        }
    }
}
