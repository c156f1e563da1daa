namespace PyramidFlow.Torch;

/// <content>Convolutions.</content>
public sealed partial class Tensor
{
    // Channels that oneDNN keeps together.
    private const long ChannelBlock = 16;

    // oneDNN as Debian 13 builds it (3.7) computes wrong numbers: for batches whose channels do not fill their blocks, and some gradients
    // of convolutions with a stride. What it gets right stays with it.
    private static readonly Lazy<bool> IsOneDnnWrong = new(MixesUpBatches);

    /// <summary>2-D convolution; weight is [out, in, h, w].</summary>
    public Tensor Conv2d(Tensor weight, Tensor? bias, long[] stride, long[] padding) =>
        GoesWrong(weight) ? Conv2dByProducts(weight, bias, stride, padding) : Call("aten::conv2d", this, weight, bias, stride, padding);

    /// <summary>3-D convolution; weight is [out, in, t, h, w].</summary>
    public Tensor Conv3d(Tensor weight, Tensor? bias, long[] stride, long[] padding) =>
        GoesWrong(weight) ? Conv3dByProducts(weight, bias, stride, padding) : Call("aten::conv3d", this, weight, bias, stride, padding);

    private bool GoesWrong(Tensor weight) => Device.Type == DeviceType.Cpu
        && (weight.Size(1) % ChannelBlock != 0 || RequiresGrad || weight.RequiresGrad) && IsOneDnnWrong.Value;

    // Without oneDNN: what the kernel sees as a matrix, times the weight. Its backward takes any input for one without gaps.
    private Tensor Conv2dByProducts(Tensor weight, Tensor? bias, long[] stride, long[] padding)
    {
        using var scope = new TensorScope();
        return scope.Keep(Call("aten::thnn_conv2d", Contiguous(), weight.Contiguous(), weight.Shape[2..], bias, stride, padding));
    }

    // Frames are a batch of 2-D convolutions whose channels are those of all frames that each sees.
    private Tensor Conv3dByProducts(Tensor weight, Tensor? bias, long[] stride, long[] padding)
    {
        using var scope = new TensorScope();
        var (x, taps, step) = (Pad([0, 0, 0, 0, padding[0], padding[0]]), weight.Size(2), stride[0]);
        var reach = (x.Size(2) - taps) / step * step;
        var seen = Cat([.. Enumerable.Range(0, (int)taps).Select(tap => x.Slice(2, tap, tap + reach + 1, step))], 1);       // [b, taps * in, t, h, w]
        var frames = seen.Transpose(1, 2).Flatten(0, 1);                                                                     // [b * t, taps * in, h, w]
        var y = frames.Conv2dByProducts(weight.Transpose(1, 2).Flatten(1, 2), bias, stride[1..], padding[1..]);
        return scope.Keep(y.Unflatten(0, Size(0), -1).Transpose(1, 2));                                                      // [b, out, t, h, w]
    }

    private static bool MixesUpBatches()
    {
        const int channels = 20, side = 3, area = side * side;
        const float closeEnough = 1e-3f;
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var x = Waves(2 * channels * area).Reshape(2, channels, side, side);
        var weight = Waves(channels * channels * area).Reshape(channels, channels, side, side);
        var (both, second) = (Of(x).Narrow(0, 1, 1), Of(x.Narrow(0, 1, 1)));
        return (both - second).Abs().Max().Item() > closeEnough;

        Tensor Of(Tensor input) => Call("aten::conv2d", input, weight, Interop.Arg.None, new long[] { 1, 1 }, new long[] { 1, 1 });

        static Tensor Waves(int count) => From([.. Enumerable.Range(0, count).Select(i => MathF.Sin(i))]);
    }
}
