namespace PyramidFlow.Torch.Tests;

public sealed class OperatorTests : IDisposable
{
    private readonly long live = Tensor.LiveCount;
    private readonly TensorScope scope = new();

    public void Dispose()
    {
        scope.Dispose();
        Assert.Equal(live, Tensor.LiveCount);
    }

    [Fact]
    public void Arguments_left_out_take_the_defaults_of_the_schema()
    {
        var x = Tensor.From<float>([1, 2, 3, 4], 2, 2);
        Assert.Equal([2f, 3f, 4f, 5f], Operator.Find("aten::add.Tensor").Call(x, Tensor.Ones([2, 2])).ToArray<float>());
        Assert.Equal([3f, 4f, 5f, 6f], Operator.Find("aten::add.Tensor").Call(x, Tensor.Ones([2, 2]), 2L).ToArray<float>());
        Assert.Equal([1f, 2f, 3f, 4f], Operator.Find("aten::flatten.using_ints").Call(x).ToArray<float>());
    }

    [Fact]
    public void A_repeated_addition_leaves_its_tensors_and_no_sum()
    {
        var (x, y) = (Tensor.From<float>([1, 2]), Tensor.From<float>([3, 4]));
        Operator.RepeatAdd(x, y, 3);
        Assert.Equal([1f, 2f, 3f, 4f], [.. x.ToArray<float>(), .. y.ToArray<float>()]);
        Assert.Contains("size of tensor", Assert.Throws<TorchException>(() => Operator.RepeatAdd(x, Tensor.Ones([3]), 1)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Text_arguments_arrive_whole()
    {
        var x = Tensor.From<float>([1, 2, 3, 4], 2, 2);
        var meshed = Operator.Find("aten::meshgrid.indexing").CallMany(new[] { Tensor.Arange(0, 2), Tensor.Arange(0, 3) }, "xy");
        Assert.Equal([3, 2], meshed[0]!.Shape);
        var error = Assert.Throws<TorchException>(() =>
            Operator.Find("aten::meshgrid.indexing").CallMany(new[] { x.Flatten(0), x.Flatten(0) }, "größe 漢字 😀"));
        Assert.Contains("größe 漢字 😀", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Lists_of_numbers_and_tensors_arrive_whole()
    {
        Assert.Equal([2, 1, 3], Tensor.Zeros([2, 1, 3]).Shape);
        Assert.Equal([], Tensor.Zeros([]).Shape);
        var many = Enumerable.Range(0, 300).Select(i => Tensor.Full([1], i)).ToArray();
        Assert.Equal(Enumerable.Range(0, 300).Select(i => (float)i), Tensor.Cat(many, 0).ToArray<float>());
        Assert.Equal(2, Tensor.Ones([2, 3]).Unbind(0).Length);
        var scaled = Operator.Find("aten::upsample_nearest1d.vec").Call(Tensor.Ones([1, 1, 4]), Arg.None, new[] { 2.0 });
        Assert.Equal([1, 1, 8], scaled.Shape);
    }

    [Fact]
    public void A_list_of_tensors_may_have_holes()
    {
        var x = Tensor.From<float>([1, 2, 3, 4, 5, 6], 2, 3);
        var columns = Tensor.From<long>([2, 0]);
        var picked = Operator.Find("aten::index.Tensor").Call(x, Arg.Optional([null, columns]));
        Assert.Equal([3f, 1f, 6f, 4f], picked.ToArray<float>());
    }

    [Fact]
    public void Generators_are_used_and_move_on()
    {
        using var generator = new RandomGenerator(5);
        using var state = generator.GetState();
        var first = Tensor.Randn([4], generator).ToArray<float>();
        Assert.NotEqual(first, Tensor.Randn([4], generator).ToArray<float>());
        generator.SetState(state);
        Assert.Equal(first, Tensor.Randn([4], generator).ToArray<float>());
        Assert.Equal(5UL, generator.Seed);
        generator.Dispose();
        generator.Dispose();
        Assert.Throws<ObjectDisposedException>(() => Tensor.Randn([4], generator));
    }

    [Fact]
    public void Results_that_are_not_one_tensor_are_told_apart()
    {
        var x = Tensor.Ones([2]);
        Assert.Equal(1, Operator.Find("aten::equal").Number(x, x));
        Assert.Equal(2, Operator.Find("aten::size.int").Number(x, 0L));
        Assert.Throws<TorchException>(() => Operator.Find("aten::equal").Call(x, x));
    }

    [Fact]
    public void Faulty_calls_are_told_in_words()
    {
        var x = Tensor.Ones([2]);
        Assert.Contains("has no operator aten::no_such_thing.x", Assert.Throws<TorchException>(() => Operator.Find("aten::no_such_thing.x")).Message, StringComparison.Ordinal);
        Assert.False(Operator.Exists("aten::no_such_thing"));
        Assert.True(Operator.Exists("aten::add.Tensor"));
        Assert.Contains("too many arguments", Assert.Throws<TorchException>(() => Operator.Find("aten::abs").Call(x, x, x)).Message, StringComparison.Ordinal);
        Assert.Throws<TorchException>(() => Operator.Find("aten::abs").Call("text"));
        Assert.Throws<TorchException>(() => Operator.Find("aten::abs").Call(Arg.None));
    }
}
