namespace PyramidFlow.Torch.Tests.Autograd;

public class GradientsTests
{
    [Fact]
    public void Gradients_of_chosen_tensors_come_without_touching_what_was_accumulated()
    {
        using var scope = new TensorScope();
        var x = Tensor.From([1f, 2f, 3f]);
        var w = Tensor.From([4f, 5f, 6f]);
        x.RequiresGrad = w.RequiresGrad = true;
        var between = x * 2;
        var y = (between * w).Sum();
        var found = y.Gradients([between, w], retainGraph: true);
        Assert.Equal([4f, 5f, 6f], found[0].ToArray<float>());
        Assert.Equal([2f, 4f, 6f], found[1].ToArray<float>());
        Assert.Null(w.Grad);
        Assert.Equal([8f, 10f, 12f], y.Gradients([x])[0].ToArray<float>());
        Assert.Null(x.Grad);
    }

    [Fact]
    public void What_a_tensor_does_not_depend_on_has_gradient_zero()
    {
        using var scope = new TensorScope();
        var x = Tensor.Ones([2]);
        var other = Tensor.Ones([3]);
        x.RequiresGrad = other.RequiresGrad = true;
        Assert.Equal([0f, 0f, 0f], (x * x).Gradients([other], Tensor.Ones([2]))[0].ToArray<float>());
    }

    [Fact]
    public void A_tensor_that_was_not_recorded_has_no_gradients()
    {
        using var scope = new TensorScope();
        var x = Tensor.Ones([2]);
        Assert.Throws<TorchException>(() => x.Sum().Gradients([x]));
    }

    [Fact]
    public void The_peak_of_memory_can_be_measured_anew()
    {
        using (Tensor.Zeros([1 << 20]))
            TorchRuntime.ResetPeak();
        TorchRuntime.ResetPeak();
        var before = TorchRuntime.CpuMemory;
        Assert.Equal(before.InUse, before.Peak);
        using (Tensor.Zeros([1 << 18]))
        {
        }

        Assert.InRange(TorchRuntime.CpuMemory.Peak - before.Peak, 1 << 20, 2 << 20);
    }
}
