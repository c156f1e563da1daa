using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Self-attention over the positions of each frame, with a norm before and the input added after.</summary>
public sealed class FrameAttention : Module
{
    private const double InitialStd = 0.02;

    // Scores held at a time; beyond it queries go in pieces.
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
        var q = Heads(toQ.Forward(n));                                        // [f, heads, h * w, d]
        var k = Heads(toK.Forward(n));                                        // [f, heads, h * w, d]
        var v = Heads(toV.Forward(n));                                        // [f, heads, h * w, d]
        var a = Attend(q, k, v).Transpose(1, 2).Flatten(2);                   // [f, h * w, c]
        var y = toOut[0].Forward(a).Transpose(1, 2).Reshape(frames.Shape);    // [f, c, h, w]
        return scope.Keep(Frames.Split(y + frames, x.Size(0)));               // [b, c, t, h, w]
    }

    private static Linear Projection(long channels) => new(channels, channels, Initializers.Normal(InitialStd));

    private static Tensor Attend(Tensor q, Tensor k, Tensor v)
    {
        var (frames, positions) = (q.Size(0), q.Size(2));
        var rows = MaxScores / (q.Size(1) * positions);                       // query rows, over all frames
        if (frames > 1 && rows < frames * positions)
        {
            var parts = Enumerable.Range(0, (int)frames)
                .Select(f => Attend(q.Narrow(0, f, 1), k.Narrow(0, f, 1), v.Narrow(0, f, 1)));
            return Tensor.Cat([.. parts], 0);
        }

        var pieces = new List<Tensor>();
        for (long start = 0, step = Math.Clamp(rows, 1, positions); start < positions; start += step)
            pieces.Add(AttendRows(q.Narrow(2, start, Math.Min(step, positions - start)), k, v));
        return pieces.Count == 1 ? pieces[0] : Tensor.Cat([.. pieces], 2);
    }

    private static Tensor AttendRows(Tensor q, Tensor k, Tensor v)
    {
        using var scope = new TensorScope();
        var scores = (q * (1 / Math.Sqrt(q.Size(3)))).Matmul(k.Transpose(2, 3));                          // [f, heads, n, m]
        return scope.Keep(scores.To(ElementType.Float32).Softmax(-1).To(v.Type).Matmul(v));               // [f, heads, n, d]
    }

    private Tensor Heads(Tensor x) => x.Unflatten(2, heads, -1).Transpose(1, 2);
}
