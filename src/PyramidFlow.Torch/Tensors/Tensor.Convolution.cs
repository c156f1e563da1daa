namespace PyramidFlow.Torch;

/// <content>Convolutions.</content>
public sealed partial class Tensor
{
    // oneDNN stores channels in blocks of this size.
    private const long ChannelBlock = 16;

    // Elements of the unfolded input that are held at a time; at least one batch item.
    private const long WindowsAtATime = 1 << 20;

    // oneDNN 3.7 as built by Debian 13 gives wrong results where channels do not fill their blocks (batches in float32, a bias in
    // bfloat16), and wrong gradients for some strides. The other cases still use it.
    internal static readonly Lazy<bool> IsOneDnnWrong = new(GivesWrongBatches, LazyThreadSafetyMode.PublicationOnly);

    /// <summary>2-D convolution; weight is [out, in, h, w].</summary>
    public Tensor Conv2d(Tensor weight, Tensor? bias, long[] stride, long[] padding) =>
        NeedsProducts(weight) ? Conv2dByProducts(weight, bias, stride, padding) : ByOneDnn("aten::conv2d", weight, bias, stride, padding);

    /// <summary>3-D convolution; weight is [out, in, t, h, w].</summary>
    public Tensor Conv3d(Tensor weight, Tensor? bias, long[] stride, long[] padding) =>
        NeedsProducts(weight) ? Conv3dByProducts(weight, bias, stride, padding) : ByOneDnn("aten::conv3d", weight, bias, stride, padding);

    /// <summary>
    /// <see cref="Conv3d"/> as a batch of 2-D convolutions: one for each output frame, with the channels of all input frames in its
    /// receptive field.
    /// </summary>
    public Tensor Conv3dOverFrames(Tensor weight, Tensor? bias, long[] stride, long[] padding) =>
        OverFrames(weight, stride, padding, (frames, flat) => frames.Conv2d(flat, bias, stride[1..], padding[1..]));

    private bool NeedsProducts(Tensor weight) => Device.Type == DeviceType.Cpu
        && (weight.Size(1) % ChannelBlock != 0 || RequiresGrad || weight.RequiresGrad) && IsOneDnnWrong.Value;

    // Adds zero outputs that fill the last block of channels if needed.
    private Tensor ByOneDnn(string name, Tensor weight, Tensor? bias, long[] stride, long[] padding)
    {
        var outputs = weight.Size(0);
        var missing = (ChannelBlock - (outputs % ChannelBlock)) % ChannelBlock;
        if (missing == 0 || Device.Type != DeviceType.Cpu || !IsOneDnnWrong.Value)
            return Call(name, this, weight, bias, stride, padding);
        using var scope = new TensorScope();
        var filled = weight.Pad([.. new long[2 * stride.Length], 0, 0, 0, missing]);
        return scope.Keep(Call(name, this, filled, bias?.Pad([0, missing]), stride, padding).Narrow(1, 0, outputs));
    }

    // Without oneDNN: the unfolded input as a matrix, times the weight. The operator's backward assumes a contiguous input, and
    // it accumulates in the input's type: so both are made contiguous float32.
    internal Tensor Conv2dByProducts(Tensor weight, Tensor? bias, long[] stride, long[] padding)
    {
        using var scope = new TensorScope();
        var (x, w, b) = (Wide(this), Wide(weight), bias is null ? null : Wide(bias));
        var windows = w.Size(1) * w.Size(2) * w.Size(3) * x.Size(2) * x.Size(3) / (stride[0] * stride[1]);
        var group = Math.Clamp(WindowsAtATime / windows, 1, x.Size(0));
        var parts = new List<Tensor>();
        for (var start = 0L; start < x.Size(0); start += group)
            parts.Add(Call("aten::thnn_conv2d", x.Narrow(0, start, Math.Min(group, x.Size(0) - start)), w, w.Shape[2..], b, stride, padding));
        return scope.Keep((parts.Count == 1 ? parts[0] : Cat([.. parts], 0)).To(Type));

        static Tensor Wide(Tensor x) => x.To(ElementType.Float32).Contiguous();
    }

    internal Tensor Conv3dByProducts(Tensor weight, Tensor? bias, long[] stride, long[] padding) =>
        OverFrames(weight, stride, padding, (frames, flat) => frames.Conv2dByProducts(flat, bias, stride[1..], padding[1..]));

    private Tensor OverFrames(Tensor weight, long[] stride, long[] padding, Func<Tensor, Tensor, Tensor> convolve)
    {
        using var scope = new TensorScope();
        var (x, taps, step) = (padding[0] == 0 ? this : Pad([0, 0, 0, 0, padding[0], padding[0]]), weight.Size(2), stride[0]);
        var reach = (x.Size(2) - taps) / step * step;
        var seen = Cat([.. Enumerable.Range(0, (int)taps).Select(tap => x.Slice(2, tap, tap + reach + 1, step))], 1);       // [b, taps * in, t, h, w]
        var frames = seen.Transpose(1, 2).Flatten(0, 1);                                                                     // [b * t, taps * in, h, w]
        var y = convolve(frames, weight.Transpose(1, 2).Flatten(1, 2));
        return scope.Keep(y.Unflatten(0, Size(0), -1).Transpose(1, 2));                                                      // [b, out, t, h, w]
    }

    private static bool GivesWrongBatches()
    {
        const int channels = 20, side = 3, area = side * side;
        const float closeEnough = 1e-3f;
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var x = Waves(2 * channels * area).Reshape(2, channels, side, side);
        var weight = Waves(channels * channels * area).Reshape(channels, channels, side, side);
        var (both, second) = (Of(x).Narrow(0, 1, 1), Of(x.Narrow(0, 1, 1)));
        return !((both - second).Abs().Max().Item() <= closeEnough);

        Tensor Of(Tensor input) => Call("aten::conv2d", input, weight, Arg.None, new long[] { 1, 1 }, new long[] { 1, 1 });

        static Tensor Waves(int count) => From([.. Enumerable.Range(0, count).Select(i => MathF.Sin(i))]);
    }
}
