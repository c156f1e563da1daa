namespace PyramidFlow.Torch.Tests;

public class TensorTests
{
    [Fact]
    public void Operators_compute_what_they_are_named_after()
    {
        using var scope = new TensorScope();
        var a = Tensor.From<float>([1, 2, 3, 4, 5, 6], 2, 3);
        var b = Tensor.From<float>([1, 0, 0, 1, 1, 1], 3, 2);
        Assert.Equal([4f, 5f, 10f, 11f], a.Matmul(b).ToArray<float>());
        Assert.Equal([1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f], (a + 0.5).ToArray<float>());
        Assert.Equal(21, a.Sum().Item());
        Assert.Equal([1f, 4f, 2f, 5f, 3f, 6f], a.Transpose(0, 1).ToArray<float>());
        Assert.Equal([3L, 2L], a.Permute(1, 0).Shape);
    }

    [Fact]
    public void A_scope_frees_everything_that_was_not_kept()
    {
        var before = Tensor.LiveCount;
        Tensor kept;
        using (var outer = new TensorScope())
        {
            using (var inner = new TensorScope())
            {
                var x = Tensor.Ones([4]);
                _ = x + x;
                kept = inner.Keep(x * 3);
            }

            Assert.Equal(before + 1, Tensor.LiveCount);
            Assert.Equal([3f, 3f, 3f, 3f], kept.ToArray<float>());
        }

        Assert.True(kept.IsDisposed);
        Assert.Equal(before, Tensor.LiveCount);
    }

    [Fact]
    public void Backward_fills_the_gradients_of_leaves()
    {
        using var scope = new TensorScope();
        var x = Tensor.From<float>([1, 2, 3]);
        x.RequiresGrad = true;
        (x * x).Sum().Backward();
        Assert.Equal([2f, 4f, 6f], x.Grad!.ToArray<float>());
    }

    [Fact]
    public void The_same_seed_draws_the_same_numbers()
    {
        using var scope = new TensorScope();
        using var first = new RandomGenerator(7);
        using var second = new RandomGenerator(7);
        using var other = new RandomGenerator(8);
        var a = Tensor.Randn([100], first).ToArray<float>();
        Assert.Equal(a, Tensor.Randn([100], second).ToArray<float>());
        Assert.NotEqual(a, Tensor.Randn([100], other).ToArray<float>());
    }

    [Fact]
    public void An_error_of_libtorch_arrives_in_its_own_words()
    {
        using var scope = new TensorScope();
        var error = Assert.Throws<TorchException>(() => Tensor.Ones([2, 3]).Matmul(Tensor.Ones([2, 3])));
        Assert.Contains("2x3", error.Message, StringComparison.Ordinal);
    }
}
