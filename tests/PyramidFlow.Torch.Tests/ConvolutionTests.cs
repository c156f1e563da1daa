using PyramidFlow.Testing;

namespace PyramidFlow.Torch.Tests;

/// <summary>Convolutions and their gradients are right however wide and long they are: some builds of oneDNN are wrong for some.</summary>
public sealed class ConvolutionTests
{
    private const int Taps = 3;

    public static TheoryData<int, int, int, int, int> Shapes => new(
        from batch in new[] { 1, 3 }
        from channels in new[] { (3, 8), (16, 3), (12, 20), (16, 16), (20, 32), (24, 8), (48, 24), (8, 33) }
        from kernel in new[] { 1, 3, 4 }
        from stride in new[] { 1, 2 }
        select (batch, channels.Item1, channels.Item2, kernel, stride));

    [Theory]
    [MemberData(nameof(Shapes))]
    public void A_picture_is_convolved(int batch, int inputs, int outputs, int kernel, int stride)
    {
        long[] strides = [stride, stride], padding = [kernel / 2, kernel / 2];
        Check([batch, inputs, 7, 9], [outputs, inputs, kernel, kernel], strides, padding,
            (x, weight, bias) => x.Conv2d(weight, bias, strides, padding), (x, weight, bias) => x.Conv2dByProducts(weight, bias, strides, padding));
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void A_video_is_convolved(int batch, int inputs, int outputs, int kernel, int stride)
    {
        long[] strides = [stride, stride, stride], padding = [0, kernel / 2, kernel / 2];
        Check([batch, inputs, 5, 5, 7], [outputs, inputs, Taps, kernel, kernel], strides, padding,
            (x, weight, bias) => x.Conv3d(weight, bias, strides, padding), (x, weight, bias) => x.Conv3dByProducts(weight, bias, strides, padding),
            (x, weight, bias) => x.Conv3dOverFrames(weight, bias, strides, padding));
    }

    [Theory]
    [InlineData(24, 8)]
    [InlineData(16, 3)]
    [InlineData(16, 32)]
    [InlineData(8, 16)]
    public void Narrow_numbers_are_added_up_in_wide_ones(int inputs, int outputs)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(4);
        Tensor[] wide = [Tensor.Randn([2, inputs, 7, 9], generator), Tensor.Randn([outputs, inputs, 3, 3], generator), Tensor.Randn([outputs], generator)];
        Tensor[] narrow = [.. wide.Select(tensor => tensor.To(ElementType.BFloat16))];
        var expected = wide[0].Conv2d(wide[1], wide[2], [1, 1], [1, 1]);
        foreach (var found in new[] { narrow[0].Conv2d(narrow[1], narrow[2], [1, 1], [1, 1]), narrow[0].Conv2dByProducts(narrow[1], narrow[2], [1, 1], [1, 1]) })
        {
            Assert.Equal(ElementType.BFloat16, found.Type);
            Assert.InRange((found.To(ElementType.Float32) - expected).Norm().Item() / expected.Norm().Item(), 0, 0.01);
        }
    }

    // Each way, with and without gradients, against a sum over the kernel's taps.
    private static void Check(long[] shape, long[] weightShape, long[] strides, long[] padding, params Func<Tensor, Tensor, Tensor?, Tensor>[] ways)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(3);
        Tensor[] leaves = [Leaf(shape), Leaf(weightShape), Leaf([weightShape[0]])];
        var (x, weight, bias) = (leaves[0], leaves[1], leaves[2]);
        var expected = Gradients(OverTaps());
        foreach (var way in ways)
        {
            foreach (var (name, right, found) in new[] { "result", "gradient of the input", "of the weight", "of the bias" }.Zip(expected, Gradients(way(x, weight, bias))))
                Close(right, found, name);
            using var noGrad = NoGrad.Begin();
            Close(expected[0], way(x.Detach(), weight.Detach(), bias.Detach()), "result without gradients");
            Close(expected[0] - bias.Reshape([1, weightShape[0], .. strides.Select(_ => 1L)]), way(x.Detach(), weight.Detach(), null), "result without a bias");
        }

        // The sum of squares, so that gradients differ from place to place.
        Tensor[] Gradients(Tensor y)
        {
            (y * y).Sum().Backward();
            Tensor[] all = [y.Detach(), .. leaves.Select(leaf => leaf.Grad!.Clone())];
            foreach (var leaf in leaves)
                leaf.Grad!.MulInPlace(0);
            return all;
        }

        Tensor OverTaps()
        {
            long[] kernel = weightShape[2..];
            var padded = x.Pad([.. padding.Reverse().SelectMany(size => new[] { size, size })]);
            long[] sizes = [.. kernel.Select((taps, axis) => ((padded.Size(2 + axis) - taps) / strides[axis]) + 1)];
            var sum = bias.Reshape([1, weightShape[0], .. sizes.Select(_ => 1L)]);
            for (var tap = 0L; tap < kernel.Aggregate(1L, (a, b) => a * b); tap++)
            {
                var (seen, matrix, rest) = (padded, weight, tap);
                for (var axis = 0; axis < kernel.Length; axis++)
                {
                    var (place, next) = (rest % kernel[axis], rest / kernel[axis]);
                    seen = seen.Slice(2 + axis, place, place + ((sizes[axis] - 1) * strides[axis]) + 1, strides[axis]);
                    (matrix, rest) = (matrix.Narrow(2 + axis, place, 1), next);
                }

                sum += matrix.Reshape(weightShape[0], weightShape[1]).Matmul(seen.Flatten(2)).Reshape([shape[0], weightShape[0], .. sizes]);
            }

            return sum;
        }

        Tensor Leaf(long[] size)
        {
            var leaf = Tensor.Randn(size, generator);
            leaf.RequiresGrad = true;
            return leaf;
        }

        static void Close(Tensor right, Tensor found, string name) => GoldenTensors.AssertClose(right, found, 1e-5 * right.Abs().Max().Item(), 1e-4, name);
    }
}
