namespace PyramidFlow.Torch.Tests;

public class FlatParametersTests
{
    [Fact]
    public void Gradients_of_sharers_add_up_to_those_of_the_whole_batch()
    {
        using var generator = new RandomGenerator(5);
        using var layer = new Linear(6, 3);
        using var copy = new Linear(6, 3);
        layer.Initialize(generator);
        using var parameters = new FlatParameters(("", layer));
        using var shared = parameters.Share(("", copy));
        using var scope = new TensorScope();
        var x = Tensor.Randn([8, 6], generator);
        Loss(layer, x).Backward();
        var whole = parameters.Gradients.Clone();
        Assert.True(whole.Norm().Item() > 0.01);

        parameters.ZeroGradients();
        Loss(layer, x.Narrow(0, 0, 5)).Backward();
        Loss(copy, x.Narrow(0, 5, 3)).Backward();
        parameters.Collect([shared]);
        Assert.InRange((parameters.Gradients - whole).Abs().Max().Item(), 0, 1e-5 * whole.Norm().Item());
        Assert.Equal(0, shared.Gradients.Norm().Item());
    }

    [Fact]
    public void Sharers_see_every_step()
    {
        using var generator = new RandomGenerator(5);
        using var layer = new Linear(6, 3);
        using var copy = new Linear(6, 3);
        layer.Initialize(generator);
        using var parameters = new FlatParameters(("", layer));
        using var shared = parameters.Share(("", copy));
        using var optimizer = new AdamW(parameters);
        parameters.Gradients.Fill(1);
        optimizer.Step(0.1);
        using var scope = new TensorScope();
        Assert.Equal(layer.Weight.Value.Detach().ToArray<float>(), copy.Weight.Value.Detach().ToArray<float>());
    }

    [Fact]
    public void Frozen_weights_are_left_out_and_nothing_to_train_is_an_error()
    {
        using var generator = new RandomGenerator(5);
        using var layer = new Linear(6, 3);
        layer.Initialize(generator);
        layer.Weight.Trainable = false;
        using (var parameters = new FlatParameters(("", layer)))
            Assert.Equal(["bias"], parameters.Layout().Select(p => p.Key));
        layer.Bias!.Trainable = false;
        Assert.Throws<ArgumentException>(() => new FlatParameters(("", layer)));
    }

    private static Tensor Loss(Linear layer, Tensor x)
    {
        var y = layer.Forward(x);
        return (y * y).Sum([0, 1]);
    }
}
