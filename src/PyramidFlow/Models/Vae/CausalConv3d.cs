using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// 3-D convolution in which no frame depends on a later one: time is padded before the first frame only, with zeros or with the
/// frames of the cache; height and width are padded by half the kernel.
/// </summary>
internal sealed class CausalConv3d : Module
{
    private const double InitialStd = 0.02;

    // libtorch chooses its slow kernel up to this value of channels x frames x height.
    private const long SlowKernelSize = 20480;

    [Key("conv.weight")]
    private readonly Parameter weight;

    [Key("conv.bias")]
    private readonly Parameter? bias;

    private readonly long taps;
    private readonly long[] stride;
    private readonly long[] padding;

    /// <summary>Declares a convolution with a cubic kernel and stride 1.</summary>
    public CausalConv3d(long inputs, long outputs, long kernel)
        : this(inputs, outputs, [kernel, kernel, kernel], [1, 1, 1])
    {
    }

    /// <summary>Declares the layer.</summary>
    /// <param name="inputs">Channels in.</param>
    /// <param name="outputs">Channels out.</param>
    /// <param name="kernel">Sizes in time, height and width; odd in space.</param>
    /// <param name="stride">Steps in time, height and width.</param>
    /// <param name="bias">Whether it adds a bias.</param>
    public CausalConv3d(long inputs, long outputs, long[] kernel, long[] stride, bool bias = true)
    {
        if (kernel[1] % 2 == 0 || kernel[2] % 2 == 0)
            throw new ArgumentException($"a kernel of {kernel[1]} x {kernel[2]} has no middle: use odd sizes", nameof(kernel));
        if (kernel[0] < stride[0] && kernel[0] > 1)
            throw new ArgumentException($"a kernel of {kernel[0]} frames skips frames at a temporal stride of {stride[0]}", nameof(kernel));
        weight = new Parameter([outputs, inputs, .. kernel], Initializers.Normal(InitialStd));
        this.bias = bias ? new Parameter([outputs], Initializers.Zeros) : null;
        taps = kernel[0];
        this.stride = stride;
        padding = [0, kernel[1] / 2, kernel[2] / 2];
    }

    /// <summary>Weight, [out, in, t, h, w].</summary>
    public Parameter Weight => weight;

    /// <summary>[b, in, t, h, w] to [b, out, t / stride, h / stride, w / stride], rounded up.</summary>
    /// <param name="x">Frames.</param>
    /// <param name="pass">Position of the frames in the video.</param>
    /// <exception cref="ArgumentException">A chunk ends between two steps of a temporal stride.</exception>
    public Tensor Forward(Tensor x, CausalPass pass) => Forward(x, pass, weight, bias?.Value);

    /// <summary>Like <see cref="Forward(Tensor, CausalPass)"/>, but computes only output channels 1, 3, 5 and so on.</summary>
    internal Tensor ForwardOddOutputs(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        var outputs = weight.Shape[0];
        return scope.Keep(Forward(x, pass, weight.Value.Slice(0, 1, outputs, 2), bias?.Value.Slice(0, 1, outputs, 2)));
    }

    private Tensor Forward(Tensor x, CausalPass pass, Tensor w, Tensor? b)
    {
        using var scope = new TensorScope();
        var type = x.Type;
        var around = padding;
        if (pass.Bands is { } bands && padding[1] > 0)
            (x, around) = (bands.WithEdges(x), [padding[0], 0, padding[2]]);
        if (pass.ConvolutionType is { } narrow)
            (x, w, b) = (x.To(narrow), w.To(narrow), b?.To(narrow));
        var y = taps == 1 ? Convolve(x, w, b, around) : Causal(x, pass, w, b, around);
        return scope.Keep(y.To(type));
    }

    private Tensor Causal(Tensor x, CausalPass pass, Tensor w, Tensor? b, long[] around)
    {
        var cache = pass.Cache;
        var before = cache?.Find(this);                                       // [b, in, n, h, w]
        var isFirst = before is null;
        if (cache is not null)
            CheckAligned(x.Size(2), isFirst);
        var zeros = before is null ? taps - 1 : taps - stride[0] - before.Size(2);
        if (before is not null)
            x = Tensor.Cat([before, x], 2);                                   // [b, in, n + t, h, w]
        if (pass.IsEnd)
            cache?.Forget(this);
        var y = isFirst && x.Size(2) == 1 && !pass.ComputesZeroTaps
            ? FirstFrame(x, w, b, around)
            : Convolve(zeros > 0 ? x.Pad([0, 0, 0, 0, zeros, 0]) : x, w, b, around);
        var kept = Math.Min(taps - stride[0], x.Size(2));
        if (!pass.IsEnd)
            cache?.Keep(this, x.Narrow(2, x.Size(2) - kept, kept));
        return y;
    }

    // All taps but the last see only the zeros before the first frame, so a 2-D convolution with the last tap is enough.
    private Tensor FirstFrame(Tensor x, Tensor w, Tensor? b, long[] around) =>
        x.Squeeze(2).Conv2d(w.Select(2, taps - 1), b, stride[1..], around[1..]).Unsqueeze(2);

    private Tensor Convolve(Tensor x, Tensor w, Tensor? b, long[] around) =>
        UsesSlowKernel(x) ? x.Conv3dOverFrames(w, b, stride, around) : x.Conv3d(w, b, stride, around);

    // On the CPU, libtorch runs small float32 inputs of batch 1 on a kernel that is 2 to 4 times slower than oneDNN's.
    private static bool UsesSlowKernel(Tensor x) => x.Device.Type == DeviceType.Cpu && x.Type == ElementType.Float32
        && x.Size(0) == 1 && x.Size(1) * x.Size(2) * x.Size(3) <= SlowKernelSize;

    private void CheckAligned(long frames, bool isFirst)
    {
        if ((isFirst ? frames - 1 : frames) % stride[0] == 0)
            return;
        throw new ArgumentException(isFirst
            ? $"the first chunk has {frames} frames where a temporal stride of {stride[0]} needs 1 more than a multiple of {stride[0]}"
            : $"a chunk has {frames} frames where a temporal stride of {stride[0]} needs a multiple of {stride[0]}");
    }
}

/// <summary>Position of some frames in their video, and how layers compute them.</summary>
/// <param name="IsStart">Whether the frames begin the video. Temporal upsampling makes one frame of the first frame of a video and two of every other.</param>
/// <param name="Cache">Frames before these; null if the call holds the whole video.</param>
/// <param name="ConvolutionType">Element type of the convolutions; null keeps the input's.</param>
/// <param name="UsesGradientCheckpointing">Whether residual blocks use gradient checkpointing: they keep only their input for backward (<see cref="Torch.GradientCheckpointing"/>).</param>
internal readonly record struct CausalPass(bool IsStart, CausalCache? Cache = null, ElementType? ConvolutionType = null, bool UsesGradientCheckpointing = false)
{
    /// <summary>Whether the video ends with these frames; then the cache keeps nothing of them.</summary>
    public bool IsEnd { get; init; }

    /// <summary>Whether a single first frame is convolved with the zeros before it too; see <see cref="CausalVideoVae.ComputesZeroTaps"/>.</summary>
    internal bool ComputesZeroTaps { get; init; }

    /// <summary>The bands of the frames, of which these are one; null where these are whole frames. Only the decoder works on bands.</summary>
    internal FrameBands? Bands { get; init; }

    /// <summary>A whole video in one call.</summary>
    public static CausalPass Whole => new(IsStart: true);
}

/// <summary>
/// The last input frames of every causal convolution. With them a video is encoded or decoded piece by piece with the same result
/// as in one call. A cache belongs to one video and is passed through the layers, which have no state of their own. No gradient
/// flows through it into the previous piece.
/// </summary>
/// <param name="isRepeatable">
/// Whether a piece can be computed twice before <see cref="Advance"/>, as gradient checkpointing does. Takes twice the memory.
/// </param>
internal sealed class CausalCache(bool isRepeatable = false) : IDisposable
{
    private readonly Dictionary<Module, Tensor>? next = isRepeatable ? Empty() : null;
    private readonly Dictionary<Module, Tensor> frames = Empty();

    /// <summary>Frames that a layer kept from the previous piece, [b, c, n, h, w] without spatial padding; null if there are none.</summary>
    /// <param name="layer">The layer.</param>
    public Tensor? Find(Module layer) => frames.GetValueOrDefault(layer);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in frames.Values.Concat(next?.Values ?? Enumerable.Empty<Tensor>()))
            tensor.Dispose();
        frames.Clear();
        next?.Clear();
    }

    /// <summary>Ends a piece of a repeatable cache: the frames kept in this piece become those that layers find in the next.</summary>
    internal void Advance()
    {
        foreach (var (layer, tensor) in next ?? [])
            Put(frames, layer, tensor);
        next?.Clear();
    }

    /// <summary>Copies the frames that a layer needs for the next piece, in place of the previous ones.</summary>
    internal void Keep(Module layer, Tensor tensor)
    {
        using var scope = new TensorScope();
        Put(next ?? frames, layer, TensorScope.Release(tensor.Detach().Clone()));
    }

    /// <summary>Frees the frames of a layer in the last piece of a video, unless that piece may be computed again.</summary>
    internal void Forget(Module layer)
    {
        if (next is null && frames.Remove(layer, out var last))
            last.Dispose();
    }

    private static Dictionary<Module, Tensor> Empty() => new(ReferenceEqualityComparer.Instance);

    private static void Put(Dictionary<Module, Tensor> target, Module layer, Tensor tensor)
    {
        if (target.Remove(layer, out var before))
            before.Dispose();
        target.Add(layer, tensor);
    }
}
