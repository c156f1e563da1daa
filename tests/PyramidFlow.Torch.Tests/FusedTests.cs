namespace PyramidFlow.Torch.Tests;

/// <summary>Work in one pass over memory against the plain operators.</summary>
public sealed class FusedTests : IDisposable
{
    private readonly TensorScope scope = new();
    private readonly RandomGenerator generator = new(1);

    public static TheoryData<ElementType> Types => [ElementType.Float32, ElementType.BFloat16];

    [Theory]
    [MemberData(nameof(Types))]
    public void Gelu(ElementType type) => Same(type, x => Fused.Gelu(x.Clone()), Random(ElementType.Float32, 3, 5, 333) * 4);

    [Theory]
    [MemberData(nameof(Types))]
    public void Modulate(ElementType type)
    {
        // As a slice of an adaptive norm's outputs lies: rows far apart.
        var parts = Random(type, 2, 1, 6 * 96).Chunk(6, -1);
        Same(type, x => Fused.Modulate(x, parts[1] + 1, parts[2], 1e-6), Random(ElementType.Float32, 2, 33, 96) + 3);
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Root_mean_square(ElementType type)
    {
        var weight = Random(type, 64);
        Same(type, x => Fused.RmsNorm(x, weight, 1e-6), Random(ElementType.Float32, 2, 9, 3, 64));
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Turn(ElementType type)
    {
        var turns = Random(ElementType.Float32, 11, 1, 32, 2).ViewAsComplex();
        Same(type, x => Fused.Rotate(x, turns.Narrow(0, 2, 9)), Random(ElementType.Float32, 2, 9, 3, 64));
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Group_norm_of_frames_and_SiLU(ElementType type)
    {
        var (weight, bias) = (Random(type, 12) + 1, Random(type, 12));
        var frames = Random(ElementType.Float32, 2, 12, 3, 5, 7) * 3 + 2;
        Same(type, x => Fused.GroupNormSilu(x, weight, bias, 4, 1e-6), frames);
        // As a piece of a video lies, and as frames that were made one after another.
        Same(type, x => Fused.GroupNormSilu(x.Narrow(2, 1, 2), weight, bias, 4, 1e-6), frames);
        Same(type, x => Fused.GroupNormSilu(x.Transpose(1, 2).Contiguous().Transpose(1, 2), weight, bias, 4, 1e-6), frames);
        var constant = Tensor.Full([1, 12, 1, 2, 2], 5, type);
        Close((bias * bias.Sigmoid()).Reshape(1, 12, 1, 1, 1).Expand(1, 12, 1, 2, 2), Fused.GroupNormSilu(constant, weight, bias, 4, 1e-6), type);
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Group_norm_of_bands_of_frames(ElementType type)
    {
        var (weight, bias) = (Random(type, 12) + 1, Random(type, 12));
        // Bands with other means than the whole.
        var frames = (Random(ElementType.Float32, 2, 12, 3, 5, 7) + Tensor.Arange(0, 5).Reshape(1, 1, 1, 5, 1)).To(type);
        Tensor[] bands = [frames.Narrow(3, 0, 2), frames.Narrow(3, 2, 3)];
        foreach (var isOn in new[] { true, false })
        {
            Fused.IsOn = true;
            var whole = Fused.GroupNormSilu(frames, weight, bias, 4, 1e-6);
            Fused.IsOn = isOn;
            var moments = GroupMoments.Join([.. bands.Select(band => GroupMoments.Of(band, 4))]);
            var calls = Fused.Calls;
            Close(whole, Tensor.Cat([.. bands.Select(band => Fused.GroupNormSilu(band, weight, bias, 4, 1e-6, moments))], 3), type);
            Assert.Equal(isOn ? bands.Length : 0, Fused.Calls - calls);
        }

        Fused.IsOn = true;
    }

    [Fact]
    public void What_is_not_a_number_stays_so()
    {
        var ones = Tensor.Full([8], 1, ElementType.BFloat16);
        Assert.False(Fused.GroupNormSilu(Tensor.Full([1, 8, 1, 1, 1], double.NaN, ElementType.BFloat16), ones, ones, 2, 1e-6).AllFinite());

        var x = Tensor.Full([1, 8], double.NaN, ElementType.BFloat16);
        Assert.False(Fused.Gelu(x).AllFinite());
        Assert.False(Fused.RmsNorm(x, Tensor.Full([8], 1, ElementType.BFloat16), 1e-6).AllFinite());
    }

    [Fact]
    public void Gradients_flow_as_through_the_plain_operators()
    {
        var x = Random(ElementType.Float32, 2, 3, 64);
        x.RequiresGrad = true;
        var weight = Random(ElementType.Float32, 64);
        Tensor Run() => Fused.Gelu(Fused.RmsNorm(x * 1, weight, 1e-6)).Narrow(2, 0, 3).Sum();
        var recorded = Run().Gradients([x])[0];
        Fused.IsOn = false;
        var plain = Run().Gradients([x])[0];
        Close(plain, recorded, ElementType.Float32);
    }

    [Fact]
    public void Other_types_and_layouts_go_the_plain_way()
    {
        var calls = Fused.Calls;
        var half = Random(ElementType.Float32, 2, 3, 64).To(ElementType.Float16);
        Assert.NotSame(half, Fused.Gelu(half.To(ElementType.Float64)));
        var slice = Random(ElementType.Float32, 2, 6, 64).Slice(1, 0, 6, 2);
        var shift = Random(ElementType.Float32, 2, 1, 64);
        Close(Fused.Modulate(slice.Contiguous(), shift, shift, 1e-6), Fused.Modulate(slice, shift, shift, 1e-6), ElementType.Float32);
        Assert.Equal(1, Fused.Calls - calls);
    }

    public void Dispose()
    {
        Fused.IsOn = true;
        scope.Dispose();
        generator.Dispose();
    }

    // The plain form rounds to bfloat16 after each of its operators, so they differ by a few of its units.
    private static void Same(ElementType type, Func<Tensor, Tensor> work, Tensor x)
    {
        var narrow = x.To(type);
        var calls = Fused.Calls;
        var y = work(narrow);
        Assert.Equal(1, Fused.Calls - calls);
        Assert.Equal(type, y.Type);
        Fused.IsOn = false;
        Close(work(narrow), y, type);
        Fused.IsOn = true;
    }

    private static Tensor Wide(Tensor x) => x.To(ElementType.Float32);

    private static void Close(Tensor expected, Tensor actual, ElementType type)
    {
        Assert.Equal(expected.Shape, actual.Shape);
        var difference = (Wide(expected) - Wide(actual)).Norm().ToArray<float>()[0] / Wide(expected).Norm().ToArray<float>()[0];
        Assert.InRange(difference, 0, type == ElementType.Float32 ? 1e-5 : 1.5e-2);
    }

    private Tensor Random(ElementType type, params long[] shape) => Tensor.Randn(shape, generator).To(type);
}
