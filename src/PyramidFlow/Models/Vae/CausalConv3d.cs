using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>
/// 3-D convolution that sees no later frame: zeros, or the frames of the cache, stand before the first, and height and
/// width are padded by half the kernel.
/// </summary>
public sealed class CausalConv3d : Module
{
    private const double InitialStd = 0.02;

    // Channels x frames x height up to which libtorch's choice is the slow kernel.
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
    /// <param name="pass">Where in the video they stand.</param>
    /// <exception cref="ArgumentException">A chunk ends between two steps of a temporal stride.</exception>
    public Tensor Forward(Tensor x, CausalPass pass) => Forward(x, pass, weight, bias?.Value);

    /// <summary>As <see cref="Forward(Tensor, CausalPass)"/>, with every second output channel only, from the second on.</summary>
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
        if (pass.ConvolutionType is { } narrow)
            (x, w, b) = (x.To(narrow), w.To(narrow), b?.To(narrow));
        var y = taps == 1 ? Convolve(x, w, b) : Causal(x, pass, w, b);
        return scope.Keep(y.To(type));
    }

    private Tensor Causal(Tensor x, CausalPass pass, Tensor w, Tensor? b)
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
            ? FirstFrame(x, w, b)
            : Convolve(zeros > 0 ? x.Pad([0, 0, 0, 0, zeros, 0]) : x, w, b);
        var kept = Math.Min(taps - stride[0], x.Size(2));
        if (!pass.IsEnd)
            cache?.Keep(this, x.Narrow(2, x.Size(2) - kept, kept));
        return y;
    }

    // Before a single first frame there are only zeros: all taps but the last multiply by nothing.
    private Tensor FirstFrame(Tensor x, Tensor w, Tensor? b) =>
        x.Squeeze(2).Conv2d(w.Select(2, taps - 1), b, stride[1..], padding[1..]).Unsqueeze(2);

    private Tensor Convolve(Tensor x, Tensor w, Tensor? b) =>
        IsLeftToSlowKernel(x) ? x.Conv3dOverFrames(w, b, stride, padding) : x.Conv3d(w, b, stride, padding);

    // libtorch on the CPU gives small float32 inputs of batch 1 to a kernel that is 2 to 4 times slower than oneDNN's.
    private static bool IsLeftToSlowKernel(Tensor x) => x.Device.Type == DeviceType.Cpu && x.Type == ElementType.Float32
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

/// <summary>What a layer must know about the frames it is given.</summary>
/// <param name="IsStart">Whether they begin the video: temporal upsampling makes one frame of the first, two of every other.</param>
/// <param name="Cache">The frames before them; null when the call holds the whole video.</param>
/// <param name="ConvolutionType">Element type convolutions are computed in; null is the input's.</param>
/// <param name="Recomputes">Whether residual blocks keep only their input for backward (<see cref="GradientCheckpointing"/>).</param>
public readonly record struct CausalPass(bool IsStart, CausalCache? Cache = null, ElementType? ConvolutionType = null, bool Recomputes = false)
{
    /// <summary>Whether no frames come after them: then nothing of them is remembered.</summary>
    public bool IsEnd { get; init; }

    /// <summary>Whether a single first frame meets the zeros before it too; see <see cref="CausalVideoVae.ComputesZeroTaps"/>.</summary>
    internal bool ComputesZeroTaps { get; init; }

    /// <summary>A whole video in one call.</summary>
    public static CausalPass Whole => new(IsStart: true);
}

/// <summary>
/// The last frames every causal convolution has seen, so that a video can be encoded or decoded piece by piece with the
/// result of doing it whole. It belongs to one video and is handed through the layers; the layers keep nothing. No
/// gradient flows through it into the piece before.
/// </summary>
/// <param name="isRepeatable">
/// Whether a piece can be computed again, as gradient checkpointing does, until <see cref="Advance"/> goes on to the next:
/// twice the memory.
/// </param>
public sealed class CausalCache(bool isRepeatable = false) : IDisposable
{
    private readonly Dictionary<Module, Tensor>? next = isRepeatable ? Empty() : null;
    private readonly Dictionary<Module, Tensor> frames = Empty();

    /// <summary>The frames a layer left, [b, c, n, h, w] without spatial padding, or null.</summary>
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

    /// <summary>Ends a piece of a repeatable cache: what the layers left is from now on what they find.</summary>
    internal void Advance()
    {
        foreach (var (layer, tensor) in next ?? [])
            Put(frames, layer, tensor);
        next?.Clear();
    }

    /// <summary>Copies the frames a layer needs next time; those before go.</summary>
    internal void Keep(Module layer, Tensor tensor)
    {
        using var scope = new TensorScope();
        Put(next ?? frames, layer, TensorScope.Release(tensor.Detach().Clone()));
    }

    /// <summary>Frees what a layer left, unless it may be asked for again; nothing comes after the present piece.</summary>
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
