using PyramidFlow.Testing;

namespace PyramidFlow.Torch.Tests;

/// <summary>Convolutions and their gradients are right however many channels there are: some builds of oneDNN are wrong for some.</summary>
public sealed class ConvolutionTests
{
    public static TheoryData<int, int, int, int, int> Shapes => new(
        from batch in new[] { 1, 3 }
        from channels in new[] { (3, 8), (8, 3), (12, 20), (16, 16), (20, 32), (24, 8), (48, 24), (8, 33) }
        from dimensions in new[] { 2, 3 }
        from stride in new[] { 1, 2 }
        select (batch, channels.Item1, channels.Item2, dimensions, stride));

    [Theory]
    [MemberData(nameof(Shapes))]
    public void A_convolution_is_a_sum_of_products_over_its_taps(int batch, int inputs, int outputs, int dimensions, int stride)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(3);
        long[] space = [.. new long[] { 3, 5, 7 }[(3 - dimensions)..]];
        long[] ones = [.. Enumerable.Repeat(1L, dimensions)];
        long[] strides = [.. Enumerable.Repeat((long)stride, dimensions)];
        Tensor[] leaves = [Leaf([batch, inputs, .. space]), Leaf([outputs, inputs, .. Enumerable.Repeat(3L, dimensions)]), Leaf([outputs])];
        var (x, weight, bias) = (leaves[0], leaves[1], leaves[2]);

        var actual = Gradients(dimensions == 2 ? x.Conv2d(weight, bias, strides, ones) : x.Conv3d(weight, bias, strides, ones));
        GoldenTensors.AssertClose(actual[0], Without(), 1e-5 * actual[0].Abs().Max().Item(), 1e-4, "result without gradients");
        var expected = Gradients(OverTaps());
        foreach (var (name, right, found) in new[] { "result", "gradient of the input", "of the weight", "of the bias" }.Zip(expected, actual))
            GoldenTensors.AssertClose(right, found, 1e-5 * right.Abs().Max().Item(), 1e-4, name);

        // The sum of squares, so that gradients differ from place to place.
        Tensor[] Gradients(Tensor y)
        {
            (y * y).Sum().Backward();
            Tensor[] all = [y.Detached(), .. leaves.Select(leaf => leaf.Grad!.Clone())];
            foreach (var leaf in leaves)
                leaf.Grad!.MulInPlace(0);
            return all;
        }

        Tensor Without()
        {
            using var noGrad = NoGrad.Begin();
            return dimensions == 2 ? x.Detached().Conv2d(weight.Detached(), bias, strides, ones) : x.Detached().Conv3d(weight.Detached(), bias, strides, ones);
        }

        Tensor OverTaps()
        {
            var padded = x.Pad([.. Enumerable.Repeat(1L, 2 * dimensions)]);
            var sum = bias.Reshape([1, outputs, .. ones]);
            for (var tap = 0; tap < Math.Pow(3, dimensions); tap++)
            {
                var (seen, matrix) = (padded, weight);
                for (var (axis, rest) = (0, tap); axis < dimensions; axis++, rest /= 3)
                    (seen, matrix) = (seen.Slice(2 + axis, rest % 3, (rest % 3) + space[axis], stride), matrix.Narrow(2 + axis, rest % 3, 1));
                sum += matrix.Reshape(outputs, inputs).Matmul(seen.Flatten(2)).Reshape([batch, outputs, .. space.Select(size => (size + stride - 1) / stride)]);
            }

            return sum;
        }

        Tensor Leaf(long[] shape)
        {
            var leaf = Tensor.Randn(shape, generator);
            leaf.RequiresGrad = true;
            return leaf;
        }
    }
}
