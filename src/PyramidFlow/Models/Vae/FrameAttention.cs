using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Self-attention over the positions of each frame, with a norm before and the input added after.</summary>
public sealed class FrameAttention : Module
{
    private const double InitialStd = 0.02;

    // Maximum number of scores in memory.
    private const long MaxScores = 1L << 26;

    private readonly GroupNorm groupNorm;
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
    public FrameAttention(long channels, long headDim, long groups, double eps = 1e-6)
    {
        if (channels % headDim != 0)
            throw new ArgumentException($"{channels} channels do not divide into heads of {headDim}", nameof(headDim));
        groupNorm = new GroupNorm(groups, channels, eps);
        toQ = Projection(channels);
        toK = Projection(channels);
        toV = Projection(channels);
        toOut = [Projection(channels)];
        heads = channels / headDim;
    }

    /// <summary>[b, c, t, h, w] to the same.</summary>
    public Tensor Forward(Tensor x)
    {
        using var scope = new TensorScope();
        var frames = Frames.Merge(x);                                         // [f, c, h, w]
        var n = groupNorm.Forward(frames).Flatten(2).Transpose(1, 2);         // [f, h * w, c]
        var q = Heads(toQ.Forward(n));                                        // [heads, f, h * w, d]
        var k = Heads(toK.Forward(n));                                        // [heads, f, h * w, d]
        var v = Heads(toV.Forward(n));                                        // [heads, f, h * w, d]
        var a = Attend(q, k, v);                                              // [f, h * w, c]
        var y = toOut[0].Forward(a).Transpose(1, 2).Reshape(frames.Shape);    // [f, c, h, w]
        return scope.Keep(Frames.Split(y + frames, x.Size(0)));               // [b, c, t, h, w]
    }

    private static Linear Projection(long channels) => new(channels, channels, Initializers.Normal(InitialStd));

    // q, k and v [heads, f, n, d] to [f, n, heads * d].
    private static Tensor Attend(Tensor q, Tensor k, Tensor v)
    {
        var positions = q.Size(2);
        var queries = Math.Clamp(MaxScores / (q.Size(0) * q.Size(1) * positions), 1, positions);
        return ChunkedAttention.Fused(q, k, v, new AttentionRange(0, positions, positions)) ?? ChunkedAttention.Forward(q, k, v, null, queries);
    }

    private Tensor Heads(Tensor x) => x.Unflatten(2, heads, -1).Permute(2, 0, 1, 3).Contiguous();
}
