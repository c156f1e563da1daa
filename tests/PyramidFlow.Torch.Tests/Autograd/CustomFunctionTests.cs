namespace PyramidFlow.Torch.Tests.Autograd;

public sealed class CustomFunctionTests : IDisposable
{
    private readonly long live = Tensor.LiveCount;
    private readonly TensorScope scope = new();

    public void Dispose()
    {
        scope.Dispose();
        Assert.Equal(live, Tensor.LiveCount);
    }

    [Fact]
    public void The_backward_gets_the_gradients_and_gives_those_of_the_inputs()
    {
        Tensor x = Leaf(1, 2), y = Leaf(3, 4), constant = Tensor.Ones([2]);
        var outputs = CustomFunction.Apply([x, constant, y], () => [x * y, x + y], gradients =>
        {
            Assert.Null(gradients[1]);
            return [gradients[0]! * 10, null, gradients[0]! * 100];
        });
        Assert.Equal([3f, 8f], outputs[0].ToArray<float>());
        (outputs[0] * 2).Sum().Backward();
        Assert.Equal([20f, 20f], x.Grad!.ToArray<float>());
        Assert.Equal([200f, 200f], y.Grad!.ToArray<float>());
        Assert.Null(constant.Grad);
    }

    [Fact]
    public void Saved_tensors_outlive_the_scope_of_the_forward()
    {
        var x = Leaf(0, 1);
        Tensor loss;
        using (var inner = new TensorScope())
        {
            var h = x * 2;
            var y = CustomFunction.Apply([h], () =>
            {
                var e = h.Exp();
                return ([e], [e]);
            }, (gradients, saved) => [gradients[0]! * saved[0]])[0];
            loss = inner.Keep(y.Sum());
        }

        loss.Backward();
        Assert.Equal(2, x.Grad!.ToArray<float>()[0], 1e-5);
        Assert.Equal(2 * Math.Exp(2), x.Grad!.ToArray<float>()[1], 1e-5);
    }

    [Fact]
    public void One_gradient_for_two_inputs_stays_two_gradients()
    {
        Tensor a = Leaf(1, 2), b = Leaf(3, 4);
        var sum = CustomFunction.Apply([a, b], () => [a + b], gradients => [gradients[0], gradients[0]])[0];
        sum.Sum().Backward();
        a.Grad!.Fill(7);
        Assert.Equal([1f, 1f], b.Grad!.ToArray<float>());
    }

    [Fact]
    public void Nothing_is_recorded_where_no_gradient_is_wanted()
    {
        using var plain = Tensor.Ones([2]);
        Assert.False(CustomFunction.Apply([plain], () => [plain * 2], _ => throw new InvalidOperationException())[0].RequiresGrad);
        var leaf = Leaf(1);
        using (NoGrad.Begin())
            Assert.False(CustomFunction.Apply([leaf], () => [leaf * 2], _ => throw new InvalidOperationException())[0].RequiresGrad);
        Assert.True(CustomFunction.Apply([leaf], () => [leaf * 2], g => g)[0].RequiresGrad);
    }

    [Fact]
    public void A_result_may_be_an_input()
    {
        var x = Leaf(1, 2);
        var same = CustomFunction.Apply([x], () => [x], gradients => [gradients[0]! * -1])[0];
        same.Sum().Backward();
        Assert.Equal([-1f, -1f], x.Grad!.ToArray<float>());
    }

    [Fact]
    public void What_the_backward_throws_comes_out_of_backward()
    {
        var x = Leaf(1);
        var thrown = new InvalidDataException("the batch is spoilt");
        var y = CustomFunction.Apply([x], () => [x * 1], _ => throw thrown)[0];
        var outer = CustomFunction.Apply([x], () => [x * 1], _ =>
        {
            using var recording = NoGrad.Suspend();
            CustomFunction.Apply([x], () => [x * 1], g => throw thrown)[0].Backward();
            return [null];
        })[0];
        foreach (var root in new[] { y, outer })
        {
            var error = Assert.Throws<TorchException>(() => root.Sum().Backward());
            Assert.Equal("backward: the batch is spoilt", error.Message);
            Assert.Same(thrown, error.InnerException);
        }

        var refused = Assert.Throws<TorchException>(() => (Leaf(1, 2) * 1).Backward(Tensor.Ones([3])));
        Assert.Null(refused.InnerException);
    }

    [Fact]
    public void A_wrong_number_of_gradients_or_a_result_without_one_is_told_in_words()
    {
        var x = Leaf(1);
        var y = CustomFunction.Apply([x], () => [x * 1], _ => [])[0];
        Assert.Contains("gave 0 gradients for 1 inputs", Assert.Throws<TorchException>(() => y.Sum().Backward()).Message, StringComparison.Ordinal);
        var error = Assert.Throws<ArgumentException>(() => CustomFunction.Apply([x], () => [Tensor.Arange(0, 3, type: ElementType.Int64)], g => g));
        Assert.Contains("Int64 has no gradient", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Repeated_steps_leave_no_tensors()
    {
        var x = Leaf(1, 2, 3);
        x.Grad = Tensor.Zeros([3]);
        var before = Tensor.LiveCount;
        for (var i = 0; i < 20; i++)
        {
            using var step = new TensorScope();
            var y = CustomFunction.Apply([x], () => ([x * x], [x]), (gradients, saved) => [gradients[0]! * saved[0] * 2])[0];
            y.Sum().Backward();
            if (i % 2 == 0)
                _ = CustomFunction.Apply([x], () => ([x * x], [x]), (gradients, saved) => gradients);
        }

        Assert.Equal(before, Tensor.LiveCount);
        Assert.Equal([40f, 80f, 120f], x.Grad!.ToArray<float>());
    }

    private static Tensor Leaf(params float[] values)
    {
        var leaf = Tensor.From(values);
        leaf.RequiresGrad = true;
        return leaf;
    }
}
