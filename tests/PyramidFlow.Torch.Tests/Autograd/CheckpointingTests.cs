namespace PyramidFlow.Torch.Tests.Autograd;

public sealed class CheckpointingTests : IDisposable
{
    private readonly long live = Tensor.LiveCount;
    private readonly RandomGenerator generator = new(2);
    private readonly Linear first = new(6, 6);
    private readonly Linear second = new(6, 6);

    public CheckpointingTests()
    {
        first.Initialize(generator);
        second.Initialize(generator);
        first.Weight.Value.RequiresGrad = second.Weight.Value.RequiresGrad = true;
        first.Bias!.Value.RequiresGrad = second.Bias!.Value.RequiresGrad = true;
    }

    private Parameter[] Weights => [first.Weight, first.Bias!, second.Weight, second.Bias!];

    public void Dispose()
    {
        first.Dispose();
        second.Dispose();
        generator.Dispose();
        Assert.Equal(live, Tensor.LiveCount);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Gradients_equal_those_of_plain_backward(bool inputWantsGradient)
    {
        using var scope = new TensorScope();
        var x = Tensor.Randn([3, 6], generator);
        x.RequiresGrad = inputWantsGradient;
        var plain = Gradients(x, h => Block(h, first), h => Block(h, second));
        var checkpointed = Gradients(x, h => GradientCheckpointing.Run(v => Block(v, first), h), h => GradientCheckpointing.Run(v => Block(v, second), h));
        var nested = Gradients(x, h => h, h => GradientCheckpointing.Run(v => Block(GradientCheckpointing.Run(w => Block(w, first), v), second), h));
        Assert.Equal(inputWantsGradient ? 5 : 4, plain.Count);
        Assert.Equal(plain.Count, checkpointed.Count);
        for (var i = 0; i < plain.Count; i++)
        {
            AssertClose(plain[i], checkpointed[i]);
            AssertClose(plain[i], nested[i]);
        }
    }

    [Fact]
    public void Blocks_of_several_inputs_and_results_get_all_gradients()
    {
        using var scope = new TensorScope();
        var x = Tensor.Randn([3, 6], generator);
        var context = Tensor.Randn([3, 6], generator);
        x.RequiresGrad = context.RequiresGrad = true;
        (Tensor, Tensor) Joint(Tensor a, Tensor b) => (first.Forward(a * b), second.Forward(a + b).Sigmoid());
        var plain = Run(Joint);
        var checkpointed = Run((a, b) => GradientCheckpointing.Run(Joint, a, b));
        Assert.Equal(6, plain.Count);
        for (var i = 0; i < plain.Count; i++)
            AssertClose(plain[i], checkpointed[i]);

        // Only one of the two results reaches the loss.
        var one = GradientCheckpointing.Run(Joint, x, context).Item1;
        one.Sum().Backward();
        Assert.NotNull(first.Weight.Value.Grad);
        Assert.Null(second.Weight.Value.Grad);
        Reset(x, context);

        List<float[]> Run(Func<Tensor, Tensor, (Tensor, Tensor)> block)
        {
            using var inner = new TensorScope();
            var (a, b) = block(x, context);
            (a * b).Sum().Backward();
            return Reset(x, context);
        }
    }

    [Fact]
    public void What_a_block_computes_is_not_kept()
    {
        using var scope = new TensorScope();
        var x = Tensor.Ones([256, 1024]);
        x.RequiresGrad = true;
        static Tensor Deep(Tensor h)
        {
            using var inner = new TensorScope();
            for (var i = 0; i < 20; i++)
                h = h.Sigmoid();
            return inner.Keep(h);
        }

        var plain = Held(() => Deep(x));
        var checkpointed = Held(() => GradientCheckpointing.Run(Deep, x));
        Assert.InRange(checkpointed, 1, plain / 10);

        static long Held(Func<Tensor> run)
        {
            var before = TorchRuntime.CpuMemory.InUse;
            using var result = run();
            return TorchRuntime.CpuMemory.InUse - before;
        }
    }

    [Fact]
    public void Without_recording_a_block_just_runs_once()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        var runs = 0;
        var y = GradientCheckpointing.Run(
            v =>
            {
                runs++;
                return v * 2;
            },
            Tensor.Ones([2]));
        Assert.False(y.RequiresGrad);
        Assert.Equal(1, runs);
        Assert.Equal([2f, 2f], y.ToArray<float>());
    }

    [Fact]
    public void A_block_that_fails_the_second_time_fails_backward()
    {
        using var scope = new TensorScope();
        var runs = 0;
        var y = GradientCheckpointing.Run(v => ++runs == 1 ? first.Forward(v) : throw new TimeoutException("too slow"), Tensor.Ones([1, 6]));
        var error = Assert.Throws<TorchException>(() => y.Sum().Backward());
        Assert.IsType<TimeoutException>(error.InnerException);
        Assert.All(Weights, w => Assert.Null(w.Value.Grad));
    }

    private static Tensor Block(Tensor x, Linear layer)
    {
        using var scope = new TensorScope();
        return scope.Keep(x + layer.Forward(x.Sigmoid()));
    }

    private static void AssertClose(float[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (var i = 0; i < expected.Length; i++)
            Assert.Equal(expected[i], actual[i], 1e-6 * Math.Max(1, Math.Abs(expected[i])));
    }

    private List<float[]> Gradients(Tensor x, params Func<Tensor, Tensor>[] blocks)
    {
        using var scope = new TensorScope();
        var h = blocks.Aggregate(x, (value, block) => block(value));
        (h * h).Mean().Backward();
        return Reset(x);
    }

    // Takes the gradients of all leaves out and clears them.
    private List<float[]> Reset(params Tensor[] inputs)
    {
        var gradients = new List<float[]>();
        foreach (var leaf in Weights.Select(w => w.Value).Concat(inputs))
        {
            using var gradient = leaf.Grad;
            if (gradient is not null)
                gradients.Add(gradient.ToArray<float>());
            leaf.Grad = null;
        }

        return gradients;
    }
}
