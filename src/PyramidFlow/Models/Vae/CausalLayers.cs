using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Residual block: norm, activation and causal convolution, twice, plus a shortcut.</summary>
internal sealed class CausalResnetBlock : Module
{
    private readonly CausalGroupNorm norm1;
    private readonly CausalConv3d conv1;
    private readonly CausalGroupNorm norm2;
    private readonly CausalConv3d conv2;
    private readonly CausalConv3d? convShortcut;
    private readonly VaeActivation activation;

    /// <summary>Declares the block.</summary>
    /// <param name="inputs">Channels in.</param>
    /// <param name="outputs">Channels out; if they differ from the inputs, the shortcut is a 1x1 convolution.</param>
    /// <param name="settings">Groups, eps and activation.</param>
    internal CausalResnetBlock(long inputs, long outputs, ResnetSettings settings)
    {
        norm1 = new CausalGroupNorm(settings.Groups, inputs, settings.Eps);
        conv1 = new CausalConv3d(inputs, outputs, kernel: 3);
        norm2 = new CausalGroupNorm(settings.Groups, outputs, settings.Eps);
        conv2 = new CausalConv3d(outputs, outputs, kernel: 3);
        convShortcut = inputs == outputs ? null : new CausalConv3d(inputs, outputs, kernel: 1);
        activation = VaeActivation.Get(settings.Activation);
    }

    /// <summary>[b, in, t, h, w] to [b, out, t, h, w].</summary>
    /// <param name="x">Features.</param>
    /// <param name="pass">Position of the frames in the video.</param>
    internal Tensor Forward(Tensor x, CausalPass pass) =>
        pass.UsesGradientCheckpointing ? GradientCheckpointing.Run(input => Compute(input, pass), x) : Compute(x, pass);

    private Tensor Compute(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        var h = Half(norm1, conv1, x, pass);                                  // [b, out, t, h, w]
        h = Half(norm2, conv2, h, pass);                                      // [b, out, t, h, w]
        return scope.Keep(h + (convShortcut?.Forward(x, pass) ?? x));         // [b, out, t, h, w]
    }

    private Tensor Half(CausalGroupNorm norm, CausalConv3d conv, Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        return scope.Keep(conv.Forward(norm.Forward(x, activation, pass.Bands), pass));
    }
}

/// <summary>Settings that all residual blocks of a network share.</summary>
/// <param name="Groups">Groups of the norms; divides every width.</param>
/// <param name="Eps">Added to the variance.</param>
/// <param name="Activation">silu (or swish), relu, gelu or mish.</param>
internal sealed record ResnetSettings(long Groups, double Eps = 1e-6, string Activation = "silu");

/// <summary>Group normalisation of each frame by itself, so that no frame depends on a later one.</summary>
internal sealed class CausalGroupNorm : Module
{
    private readonly Parameter weight;
    private readonly Parameter bias;
    private readonly long groups;
    private readonly double eps;

    /// <summary>Declares the layer.</summary>
    /// <param name="groups">Number of groups; divides the channels.</param>
    /// <param name="channels">Channels.</param>
    /// <param name="eps">Added to the variance.</param>
    internal CausalGroupNorm(long groups, long channels, double eps = 1e-6)
    {
        if (channels % groups != 0)
            throw new ArgumentException($"{channels} channels do not divide into {groups} groups", nameof(groups));
        weight = new Parameter([channels], Initializers.Ones);
        bias = new Parameter([channels], Initializers.Zeros);
        this.groups = groups;
        this.eps = eps;
    }

    /// <summary>[b, c, t, h, w] to the same: the norm, then an activation.</summary>
    internal Tensor Forward(Tensor x, VaeActivation activation, FrameBands? bands = null)
    {
        using var scope = new TensorScope();
        return scope.Keep(activation == VaeActivation.Silu
            ? Fused.GroupNormSilu(x, weight, bias, groups, eps, bands?.Moments(x, groups))
            : activation.Apply(Forward(x, bands)));
    }

    /// <summary>[b, c, t, h, w] to the same.</summary>
    internal Tensor Forward(Tensor x, FrameBands? bands = null)
    {
        using var scope = new TensorScope();
        if (bands is not null)
            return scope.Keep(bands.Moments(x, groups).Normalize(x, weight, bias, groups, eps));
        var y = Frames.Merge(x).GroupNorm(groups, weight, bias, eps);         // [b * t, c, h, w]
        return scope.Keep(Frames.Split(y, x.Size(0)));                        // [b, c, t, h, w]
    }
}

/// <summary>Self-attention over the positions of each frame: a norm, attention, and the input added to the result.</summary>
internal sealed class FrameAttention : Module
{
    private const double InitialStd = 0.02;

    // Attention scores in memory at a time; above this number the queries are split.
    private const long MaxScores = 1L << 26;

    private readonly CausalGroupNorm groupNorm;
    private readonly Linear toQ;
    private readonly Linear toK;
    private readonly Linear toV;
    private readonly Linear[] toOut;
    private readonly long heads;

    /// <summary>Declares the layer.</summary>
    /// <param name="channels">Channels.</param>
    /// <param name="headDim">Channels of one head; divides the channels.</param>
    /// <param name="groups">Groups of the norm.</param>
    /// <param name="eps">Added to the norm's variance.</param>
    internal FrameAttention(long channels, long headDim, long groups, double eps = 1e-6)
    {
        if (channels % headDim != 0)
            throw new ArgumentException($"{channels} channels do not divide into heads of {headDim}", nameof(headDim));
        groupNorm = new CausalGroupNorm(groups, channels, eps);
        toQ = Projection(channels);
        toK = Projection(channels);
        toV = Projection(channels);
        toOut = [Projection(channels)];
        heads = channels / headDim;
    }

    /// <summary>[b, c, t, h, w] to the same.</summary>
    internal Tensor Forward(Tensor x, FrameBands? bands = null)
    {
        using var scope = new TensorScope();
        var frames = Frames.Merge(x);                                         // [f, c, h, w]
        var n = Frames.Merge(groupNorm.Forward(x, bands)).Flatten(2).Transpose(1, 2);   // [f, h * w, c]
        var q = Heads(toQ.Forward(n));                                        // [heads, f, h * w, d]
        var k = Heads(toK.Forward(n));                                        // [heads, f, h * w, d]
        var v = Heads(toV.Forward(n));                                        // [heads, f, h * w, d]
        if (bands is not null)
            (k, v) = (bands.Whole(k, 2), bands.Whole(v, 2));                  // of all rows
        var a = Attend(q, k, v);                                              // [f, h * w, c]
        var y = toOut[0].Forward(a).Transpose(1, 2).Reshape(frames.Shape);    // [f, c, h, w]
        return scope.Keep(Frames.Split(y + frames, x.Size(0)));               // [b, c, t, h, w]
    }

    private static Linear Projection(long channels) => new(channels, channels, Initializers.Normal(InitialStd));

    // q [heads, f, n, d], k and v [heads, f, m, d] to [f, n, heads * d].
    private static Tensor Attend(Tensor q, Tensor k, Tensor v)
    {
        var (positions, keys) = (q.Size(2), k.Size(2));
        var queries = Math.Clamp(MaxScores / (q.Size(0) * q.Size(1) * keys), 1, positions);
        return ChunkedAttention.Fused(q, [k], [v], [new AttentionRange(0, positions, keys)]) ?? ChunkedAttention.Forward(q, k, v, null, queries);
    }

    private Tensor Heads(Tensor x) => x.Unflatten(2, heads, -1).Permute(2, 0, 1, 3).Contiguous();
}

/// <summary>Converts between videos and batches of single frames.</summary>
internal static class Frames
{
    /// <summary>[b, c, t, h, w] to [b * t, c, h, w].</summary>
    internal static Tensor Merge(Tensor x) => x.Transpose(1, 2).Flatten(0, 1);

    /// <summary>[b * t, c, h, w] to [b, c, t, h, w].</summary>
    internal static Tensor Split(Tensor x, long batch) => x.Unflatten(0, batch, -1).Transpose(1, 2);
}

/// <summary>Halves height and width, or the number of frames, with a strided convolution.</summary>
internal sealed class CausalDownsample : Module
{
    private readonly CausalConv3d conv;

    private CausalDownsample(long inputs, long outputs, long[] stride) => conv = new CausalConv3d(inputs, outputs, [3, 3, 3], stride);

    /// <summary>[b, in, t, h, w] to [b, out, t, h / 2, w / 2], rounded up.</summary>
    internal static CausalDownsample Spatial(long inputs, long outputs) => new(inputs, outputs, [1, 2, 2]);

    /// <summary>[b, in, 1 + 2n, h, w] to [b, out, 1 + n, h, w]: the first frame stays, every two later ones become one.</summary>
    internal static CausalDownsample Temporal(long inputs, long outputs) => new(inputs, outputs, [2, 1, 1]);

    /// <summary>Convolves the next frames of a video.</summary>
    internal Tensor Forward(Tensor x, CausalPass pass) => conv.Forward(x, pass);
}

/// <summary>Doubles height and width: a convolution to 4 times the channels, which become 2x2 pixels.</summary>
internal sealed class CausalUpsample : Module
{
    private readonly CausalConv3d conv;

    /// <summary>Declares the layer.</summary>
    internal CausalUpsample(long inputs, long outputs) => conv = new CausalConv3d(inputs, 4 * outputs, kernel: 3);

    /// <summary>[b, in, t, h, w] to [b, out, t, 2h, 2w].</summary>
    internal Tensor Forward(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        var y = conv.Forward(x, pass).Unflatten(1, -1, 2, 2);                 // [b, out, 2, 2, t, h, w]
        var s = y.Shape;
        return scope.Keep(y.Permute(0, 1, 4, 5, 2, 6, 3).Reshape(s[0], s[1], s[4], 2 * s[5], 2 * s[6]));
    }
}

/// <summary>Doubles the number of frames: a convolution to twice the channels, which become two frames. A video's first frame stays one.</summary>
internal sealed class CausalTemporalUpsample : Module
{
    private readonly CausalConv3d conv;

    /// <summary>Declares the layer.</summary>
    internal CausalTemporalUpsample(long inputs, long outputs) => conv = new CausalConv3d(inputs, 2 * outputs, kernel: 3);

    /// <summary>[b, in, t, h, w] to [b, out, 2t, h, w], or 2t - 1 frames at the start of a video.</summary>
    internal Tensor Forward(Tensor x, CausalPass pass)
    {
        if (pass.IsStart && x.Size(2) == 1 && !pass.ComputesZeroTaps)
            return conv.ForwardOddOutputs(x, pass);

        using var scope = new TensorScope();
        var y = conv.Forward(x, pass).Unflatten(1, -1, 2);                    // [b, out, 2, t, h, w]
        y = y.Transpose(2, 3).Flatten(2, 3);                                  // [b, out, 2t, h, w]
        return scope.Keep(pass.IsStart ? y.Narrow(2, 1, y.Size(2) - 1) : y);
    }
}

/// <summary>An activation of the VAE.</summary>
/// <param name="Apply">Computes it.</param>
internal sealed record VaeActivation(Func<Tensor, Tensor> Apply)
{
    internal const string Known = "silu, swish, mish, gelu or relu";

    private static readonly VaeActivation Mish = new(x => x.Mish()), Gelu = new(x => x.Gelu()), Relu = new(x => x.Relu());

    /// <summary>x / (1 + e^-x), that of the released VAE.</summary>
    internal static VaeActivation Silu { get; } = new(x => x.Silu());

    /// <summary>The activation of a name in the released configs.</summary>
    internal static VaeActivation Get(string name) =>
        Find(name) ?? throw new ArgumentException($"no activation is called {name}: use {Known}", nameof(name));

    /// <summary>The same, or null where there is none of that name.</summary>
    internal static VaeActivation? Find(string name) => name switch
    {
        "silu" or "swish" => Silu,
        "mish" => Mish,
        "gelu" => Gelu,
        "relu" => Relu,
        _ => null,
    };
}
