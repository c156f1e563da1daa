namespace PyramidFlow.Torch.Tests;

public sealed class FusedAttentionTests : IDisposable
{
    private const double Scale = 0.125;

    private readonly TensorScope scope = new();
    private readonly RandomGenerator generator = new(5);

    public static TheoryData<ElementType> Types => [ElementType.Float32, ElementType.BFloat16];

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(50, 70, 2)]
    [InlineData(300, 9000, 1)]
    public void All_queries_see_all_keys(int queries, int keys, int rows)
    {
        foreach (var type in Types.Select(row => row.Data))
        {
            var (q, k, v) = (Random(type, 3, rows, queries, 64), Random(type, 3, rows, keys, 64), Random(type, 3, rows, keys, 64));

            // Views, as the keys of some frames are.
            var longer = Tensor.Cat([k, k], 2);
            var y = FusedAttention.Apply(q, [longer.Narrow(2, 0, keys)], [v], [new(0, queries, keys)], Scale);

            Assert.NotNull(y);
            Assert.Equal(type, y.Type);
            Close(Plain(Wide(q), Wide(k), Wide(v), [new(0, queries, keys)]), y, type);
        }
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Ranges_see_the_keys_up_to_their_own_and_gradients_are_those_of_the_plain_operators(ElementType type)
    {
        // Three ranges of which the last takes several blocks.
        AttentionRange[] ranges = [new(0, 5, 40), new(5, 70, 110), new(75, 700, 9000)];
        var (q, k, v) = (Random(type, 2, 3, 775, 32), Random(type, 2, 3, 9010, 32), Random(type, 2, 3, 9010, 32));
        var given = Random(type, 2, 3, 775, 32);
        Tensor[] inputs = [q, k, v];
        foreach (var input in inputs)
            input.RequiresGrad = true;
        var y = FusedAttention.Apply(q, [k], [v], ranges, Scale)!;
        var gradients = (y * given).Sum().Gradients(inputs);

        Tensor[] wide = [.. inputs.Select(input => Wide(input).Detach())];
        foreach (var input in wide)
            input.RequiresGrad = true;
        var plain = Plain(wide[0], wide[1], wide[2], ranges);
        var expected = (plain * Wide(given)).Sum().Gradients(wide);

        Close(plain, y, type);
        foreach (var (one, other) in expected.Zip(gradients))
            Close(one, other, type);

        // Keys that nobody sees have none.
        Assert.Equal(0, Wide(gradients[1].Narrow(2, 9000, 10)).Abs().Max().Item());
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Inputs_may_lie_anyhow_and_one_alone_may_want_a_gradient(ElementType type)
    {
        // Heads last, as linear layers give them; the gradient of a sum is one number, seen many times.
        Tensor[] parts = [.. Enumerable.Range(0, 3).Select(_ => Random(type, 1, 9, 2, 8).Permute(2, 0, 1, 3))];
        AttentionRange[] ranges = [new(0, 4, 6), new(4, 5, 9)];
        Tensor[] wide = [.. parts.Select(part => Wide(part).Detach())];
        (parts[1].RequiresGrad, wide[1].RequiresGrad) = (true, true);
        var alone = FusedAttention.Apply(parts[0], [parts[1]], [parts[2]], ranges, Scale)!.Sum().Gradients([parts[1]])[0];
        var plain = Plain(wide[0], wide[1], wide[2], ranges).Sum().Gradients([wide[1]])[0];
        Close(plain, alone, type);
    }

    // Widths that fill vectors of 16, that do not, that need more than one group of vectors, and one that vectors do not take.
    [Theory]
    [InlineData(64)]
    [InlineData(20)]
    [InlineData(100)]
    [InlineData(6)]
    public void Heads_have_any_width(int width)
    {
        AttentionRange[] ranges = [new(0, 33, 51), new(33, 17, 53), new(50, 70, 89)];
        foreach (var type in Types.Select(row => row.Data))
        {
            Tensor[] inputs = [Random(type, 2, 2, 120, width), Random(type, 2, 2, 90, width), Random(type, 2, 2, 90, width)];
            Tensor[] wide = [.. inputs.Select(input => Wide(input).Detach())];
            foreach (var input in inputs.Concat(wide))
                input.RequiresGrad = true;
            var (y, plain, given) = (FusedAttention.Apply(inputs[0], [inputs[1]], [inputs[2]], ranges, Scale)!, Plain(wide[0], wide[1], wide[2], ranges), Random(type, 2, 2, 120, width));
            Close(plain, y, type);
            foreach (var (one, other) in (plain * Wide(given)).Sum().Gradients(wide).Zip((y * given).Sum().Gradients(inputs)))
                Close(one, other, type);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Padding_of_the_text_is_not_seen(bool wordsAtEnd)
    {
        // Rows repeat: two timesteps of two prompts. Without AVX-512 callers leave the padding out themselves.
        int[] words = [3, 7];
        AttentionRange[] ranges = [new(0, 9, 9), new(9, 40, 70)];
        Tensor[] inputs = [Random(ElementType.Float32, 2, 4, 49, 32), Random(ElementType.Float32, 2, 4, 70, 32), Random(ElementType.Float32, 2, 4, 70, 32)];
        foreach (var input in inputs)
            input.RequiresGrad = true;
        if (!FusedAttention.HasVectors(inputs[0]))
            return;
        var (y, given) = (FusedAttention.Apply(inputs[0], [inputs[1]], [inputs[2]], ranges, Scale, new TextPadding(words, 9, wordsAtEnd))!, Random(ElementType.Float32, 2, 4, 49, 32));
        var plain = Tensor.Cat([.. Enumerable.Range(0, 4).Select(row =>
        {
            var count = words[row % 2];
            var seen = ranges.Select(range => new AttentionRange(range.First, range.Count, range.Keys - 9 + count)).ToArray();
            return Plain(Row(inputs[0]), WithoutPadding(Row(inputs[1])), WithoutPadding(Row(inputs[2])), seen);

            Tensor Row(Tensor x) => x.Narrow(1, row, 1);
            Tensor WithoutPadding(Tensor x) => Tensor.Cat([x.Narrow(2, wordsAtEnd ? 9 - count : 0, count), x.Narrow(2, 9, 61)], 2);
        })], 1);
        Close(plain, y, ElementType.Float32);
        var parts = inputs[1..].Select(x => new[] { x.Narrow(2, 0, 5).Detach(), x.Narrow(2, 5, 65).Detach() }).ToArray();
        Close(plain, FusedAttention.Apply(inputs[0].Detach(), parts[0], parts[1], ranges, Scale, new TextPadding(words, 9, wordsAtEnd))!, ElementType.Float32);
        foreach (var (one, other) in (plain * given).Sum().Gradients(inputs).Zip((y * given).Sum().Gradients(inputs)))
            Close(one, other, ElementType.Float32);
    }

    [Fact]
    public void Computed_again_in_backward_it_gives_equal_gradients()
    {
        Tensor[] inputs = [.. Enumerable.Range(0, 3).Select(_ => Random(ElementType.Float32, 2, 1, 50, 16))];
        foreach (var input in inputs)
            input.RequiresGrad = true;
        Tensor[] Block(Tensor[] x) => [FusedAttention.Apply(x[0], [x[1]], [x[2]], [new(0, 50, 50)], Scale)!];
        var kept = (Block(inputs)[0] * inputs[0]).Sum().Gradients(inputs);
        var again = (GradientCheckpointing.Run(Block, inputs)[0] * inputs[0]).Sum().Gradients(inputs);
        foreach (var (one, other) in kept.Zip(again))
            Assert.Equal(one.ToArray<float>(), other.ToArray<float>());
    }

    [Fact]
    public void Attention_to_one_large_score_is_its_value()
    {
        var q = Tensor.Full([1, 1, 1, 4], 1e3, ElementType.Float32);
        var k = Tensor.Full([1, 1, 40, 4], -1e3, ElementType.Float32);
        k.Narrow(2, 7, 1).CopyFrom(Tensor.Full([1, 1, 1, 4], 1e3, ElementType.Float32));
        var v = Random(ElementType.Float32, 1, 1, 40, 4);
        Assert.Equal(v.Narrow(2, 7, 1).ToArray<float>(), FusedAttention.Apply(q, [k], [v], [new(0, 1, 40)], 0.5)!.ToArray<float>());
    }

    [Fact]
    public void What_does_not_fit_is_an_error()
    {
        var q = Random(ElementType.Float32, 2, 1, 3, 8);
        Assert.Contains("do not fit", Fault(q, Random(ElementType.Float32, 2, 1, 3, 16), new AttentionRange(0, 3, 3)), StringComparison.Ordinal);
        Assert.Contains("keys that are there", Fault(q, q, new AttentionRange(0, 3, 4)), StringComparison.Ordinal);
        Assert.Contains("follow one another", Fault(q, q, new AttentionRange(0, 2, 3), new AttentionRange(1, 1, 3)), StringComparison.Ordinal);
        Assert.Contains("2 queries of 3", Fault(q, q, new AttentionRange(0, 2, 3)), StringComparison.Ordinal);
        Assert.Contains("different kinds", Fault(q, q.To(ElementType.BFloat16), new AttentionRange(0, 3, 3)), StringComparison.Ordinal);
    }

    [Fact]
    public void Other_types_go_the_plain_way()
    {
        var q = Random(ElementType.Float64, 2, 1, 3, 8);
        Assert.Null(FusedAttention.Apply(q, [q], [q], [new(0, 3, 3)], Scale));
    }

    public void Dispose()
    {
        scope.Dispose();
        generator.Dispose();
    }

    private static string Fault(Tensor q, Tensor v, params AttentionRange[] ranges) =>
        Assert.Throws<TorchException>(() => FusedAttention.Apply(q, [v.Size(3) == q.Size(3) ? v : q], [v], ranges, Scale)).Message;

    private static Tensor Plain(Tensor q, Tensor k, Tensor v, AttentionRange[] ranges)
    {
        return Tensor.Cat([.. ranges.Select(Attend)], 2);

        Tensor Attend(AttentionRange range)
        {
            var (some, keys, values) = (q.Narrow(2, range.First, range.Count).Flatten(0, 1), Seen(k), Seen(v));
            return ((some * Scale).Bmm(keys.Transpose(1, 2)).Softmax(-1).Bmm(values)).Unflatten(0, q.Size(0), q.Size(1));

            Tensor Seen(Tensor x) => x.Narrow(2, 0, range.Keys).Flatten(0, 1);
        }
    }

    private static Tensor Wide(Tensor x) => x.To(ElementType.Float32);

    private static void Close(Tensor expected, Tensor actual, ElementType type)
    {
        Assert.Equal(expected.Shape, actual.Shape);
        var difference = (Wide(expected) - Wide(actual)).Abs().Max().Item();
        var limit = (type == ElementType.Float32 ? 1e-5 : 2e-2) * Wide(expected).Abs().Max().Item();
        Assert.True(difference <= limit, $"{difference} apart, {limit} allowed");
    }

    private Tensor Random(ElementType type, params long[] shape) => Tensor.Randn(shape, generator).To(type);
}
