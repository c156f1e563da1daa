namespace PyramidFlow.Torch.Tests;

public class TensorScopeTests
{
    [Fact]
    public void A_scope_closed_on_another_thread_complains_and_can_still_be_closed()
    {
        var live = Tensor.LiveCount;
        using (var scope = new TensorScope())
        {
            _ = Tensor.Ones([2]);
            Assert.Contains("on the thread that opened them", OnAnotherThread(scope.Dispose)!.Message, StringComparison.Ordinal);
        }

        Assert.Equal(live, Tensor.LiveCount);
        using var outside = Tensor.Ones([2]);
        Assert.False(outside.IsDisposed);
    }

    [Fact]
    public void Scopes_closed_in_the_wrong_order_complain_and_can_still_be_closed()
    {
        var live = Tensor.LiveCount;
        var outer = new TensorScope();
        var inner = new TensorScope();
        _ = Tensor.Ones([2]);
        Assert.Throws<InvalidOperationException>(outer.Dispose);
        inner.Dispose();
        outer.Dispose();
        outer.Dispose();
        Assert.Equal(live, Tensor.LiveCount);
    }

    [Fact]
    public void A_tensor_of_a_scope_can_be_freed_on_another_thread_only_when_taken_out()
    {
        using var scope = new TensorScope();
        var tensor = Tensor.Ones([2]);
        Assert.IsType<InvalidOperationException>(OnAnotherThread(tensor.Dispose));
        Assert.False(tensor.IsDisposed);
        TensorScope.Release(tensor);
        Assert.Null(OnAnotherThread(tensor.Dispose));
        Assert.True(tensor.IsDisposed);
    }

    [Fact]
    public void Each_thread_has_its_own_scope()
    {
        using var scope = new TensorScope();
        Tensor? other = null;
        Assert.Null(OnAnotherThread(() => other = Tensor.Ones([2])));
        scope.Dispose();
        Assert.False(other!.IsDisposed);
        other.Dispose();
    }

    [Fact]
    public void Tensors_leave_and_are_freed_in_any_order()
    {
        var live = Tensor.LiveCount;
        Tensor kept;
        using (var scope = new TensorScope())
        {
            var all = Enumerable.Range(0, 20).Select(i => Tensor.Scalar(i)).ToArray();
            all[19].Dispose();
            all[0].Dispose();
            kept = scope.Keep(all[7]);
            Assert.Same(kept, scope.Keep(kept));
            all[3].Dispose();
            all[3].Dispose();
            Assert.Equal(live + 17, Tensor.LiveCount);
        }

        Assert.Equal(7, kept.Item());
        kept.Dispose();
        var error = Assert.Throws<ObjectDisposedException>(() => kept.Item());
        Assert.Contains("hand it out with scope.Keep", error.Message, StringComparison.Ordinal);
        Assert.Equal(live, Tensor.LiveCount);
    }

    private static Exception? OnAnotherThread(Action action)
    {
        Exception? thrown = null;
        var thread = new Thread(() => thrown = Record.Exception(action));
        thread.Start();
        thread.Join();
        return thrown;
    }
}
