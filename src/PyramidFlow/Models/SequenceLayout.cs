using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// The sequence of one stage: text, then history clips (oldest first), then the noisy unit, and who
/// attends to whom. Position tables and masks are computed once and serve every block and step.
/// </summary>
public sealed class SequenceLayout : IDisposable
{
    private readonly TextMask text;
    private readonly Device device;
    private readonly Dictionary<ElementType, Tensor> wholeBias = [];
    private readonly Dictionary<ElementType, Tensor> keyBias = [];

    /// <summary>Lays out a stage.</summary>
    /// <param name="text">Text rows of the stage.</param>
    /// <param name="clips">Sizes of the clips, history oldest first, the noisy unit last.</param>
    /// <param name="rotaryDims">Features of a head that are rotated by time, height and width; all 0 without rotary positions.</param>
    /// <param name="causal">Whether a latent frame attends to itself and earlier ones only.</param>
    /// <param name="settings">How to compute attention; null is the default.</param>
    /// <param name="device">Device of the tables; null is the CPU.</param>
    public SequenceLayout(TextMask text, IReadOnlyList<ClipSize> clips, IReadOnlyList<int> rotaryDims, bool causal,
        AttentionSettings? settings = null, Device? device = null)
    {
        this.text = text;
        this.device = device ?? Device.Cpu;
        Shape = new SequenceShape(text.Rows, text.Length, clips, causal);
        Settings = settings ?? new AttentionSettings();
        TextLengths = text.Lengths();
        using var noGrad = NoGrad.Begin();
        Rotary = rotaryDims.Sum() > 0 ? new Rotary(Positions(), rotaryDims, this.device) : null;
    }

    /// <summary>Sizes, and who attends to whom.</summary>
    public SequenceShape Shape { get; }

    /// <summary>Sizes of the clips, the noisy unit last.</summary>
    public IReadOnlyList<ClipSize> Clips => Shape.Clips;

    /// <summary>How to compute attention.</summary>
    public AttentionSettings Settings { get; }

    /// <summary>Rows of the batch.</summary>
    public int Rows => Shape.Rows;

    /// <summary>Text tokens: as many as the longest row has.</summary>
    public int TextLength => Shape.TextLength;

    /// <summary>The noisy unit.</summary>
    public ClipSize Unit => Shape.Unit;

    /// <summary>All tokens.</summary>
    public long Length => Shape.Length;

    /// <summary>Tokens of text and history, which come before the noisy unit.</summary>
    public long PrefixLength => Shape.PrefixLength;

    /// <summary>Position embeddings that are added to each clip's tokens, [1, t or 1, h*w, d]; none where positions are only rotary.</summary>
    public IReadOnlyList<Tensor> PositionEmbeddings { get; init; } = [];

    /// <summary>Rotates queries and keys by their positions; text is at (0, 0, 0). Null without rotary positions.</summary>
    public Rotary? Rotary { get; }

    /// <summary>Whether some text tokens are padding, which must not be attended to.</summary>
    public bool HasPadding => text.HasPadding;

    /// <summary>Number of words at the beginning of each row's text, from <see cref="TextMask.Lengths"/>.</summary>
    public IReadOnlyList<int>? TextLengths { get; }

    /// <summary>
    /// Added to the scores of all queries at once: 0 where one may attend, else -infinity; [1 or rows, Length, Length].
    /// </summary>
    public Tensor WholeBias(ElementType type) => Cached(wholeBias, type, () =>
    {
        var seen = new float[Length, Length];
        foreach (var (start, end, keys) in Shape.Ranges(0, Length))
        {
            for (var query = start; query < end; query++)
            {
                for (var key = keys; key < Length; key++)
                    seen[query, key] = float.NegativeInfinity;
            }
        }

        var bias = Tensor.From(System.Runtime.InteropServices.MemoryMarshal.CreateReadOnlySpan(ref seen[0, 0], seen.Length), 1, Length, Length);
        return HasPadding ? bias + text.KeyBias().Pad([0, Length - TextLength]) : bias;
    });

    /// <summary>Added to the scores whatever the query: -infinity for padding text; [rows, 1, Length].</summary>
    public Tensor KeyBias(ElementType type) =>
        Cached(keyBias, type, () => text.KeyBias().Pad([0, Length - TextLength]));

    /// <inheritdoc/>
    public void Dispose()
    {
        Rotary?.Dispose();
        foreach (var tensor in wholeBias.Values.Concat(keyBias.Values).Concat(PositionEmbeddings))
            tensor.Dispose();
    }

    private Tensor Cached(Dictionary<ElementType, Tensor> cache, ElementType type, Func<Tensor> make)
    {
        if (cache.TryGetValue(type, out var known))
            return known;
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        return cache[type] = TensorScope.Release(make().To(type).To(device));
    }

    // Time continues through the clips; a smaller clip is spread over the height and width of the noisy unit.
    private float[][] Positions()
    {
        var (times, rows, columns) = (new float[Length], new float[Length], new float[Length]);
        var token = TextLength;
        var time = 0;
        foreach (var clip in Clips)
        {
            var heights = Rotary.Resample(Unit.Height, clip.Height);
            var widths = Rotary.Resample(Unit.Width, clip.Width);
            for (var frame = 0; frame < clip.Time; frame++, time++)
            {
                foreach (var height in heights)
                {
                    foreach (var width in widths)
                        (times[token], rows[token], columns[token++]) = (time, height, width);
                }
            }
        }

        return [times, rows, columns];
    }
}

/// <summary>
/// Sizes of the sequence of one stage, and who attends to whom: text, then history clips (oldest first), then the noisy unit. Numbers
/// only; a <see cref="SequenceLayout"/> adds tables and masks.
/// </summary>
/// <param name="Rows">Rows of the batch.</param>
/// <param name="TextLength">Text tokens: as many as the longest row has.</param>
/// <param name="Clips">Sizes of the clips, the noisy unit last; at least one.</param>
/// <param name="Causal">Whether a latent frame attends to itself and earlier ones only.</param>
public sealed record SequenceShape(int Rows, int TextLength, IReadOnlyList<ClipSize> Clips, bool Causal)
{
    /// <summary>The noisy unit.</summary>
    public ClipSize Unit => Clips[^1];

    /// <summary>All tokens.</summary>
    public long Length => FrameEnds[^1];

    /// <summary>Tokens of text and history, which come before the noisy unit.</summary>
    public long PrefixLength => Length - Unit.Tokens;

    /// <summary>Where each latent frame ends in the sequence; text belongs to the first one.</summary>
    public IReadOnlyList<long> FrameEnds { get; } = FindFrameEnds(TextLength, Clips);

    /// <summary>
    /// The ranges of queries that see the same keys: tokens [Start, End) see tokens [0, Keys). Only the part within
    /// [first, first + count).
    /// </summary>
    public IEnumerable<(long Start, long End, long Keys)> Ranges(long first, long count)
    {
        if (!Causal)
        {
            yield return (first, first + count, Length);
            yield break;
        }

        var start = 0L;
        foreach (var end in FrameEnds)
        {
            var (from, to) = (Math.Max(start, first), Math.Min(end, first + count));
            if (from < to)
                yield return (from, to, end);
            start = end;
        }
    }

    /// <summary>How many pairs of a query within [first, first + count) and a key that it sees there are.</summary>
    public long Pairs(long first, long count) => Ranges(first, count).Sum(range => (range.End - range.Start) * range.Keys);

    private static long[] FindFrameEnds(int textLength, IReadOnlyList<ClipSize> clips)
    {
        if (clips.Count == 0)
            throw new ArgumentException("a stage needs at least the noisy unit", nameof(clips));
        var ends = new List<long>();
        var end = (long)textLength;
        foreach (var clip in clips)
        {
            for (var frame = 0L; frame < clip.Time; frame++)
                ends.Add(end += clip.FrameTokens);
        }

        return [.. ends];
    }
}

/// <summary>Size of a clip in tokens.</summary>
/// <param name="Time">Latent frames.</param>
/// <param name="Height">Rows of 2x2 patches.</param>
/// <param name="Width">Columns of 2x2 patches.</param>
public readonly record struct ClipSize(long Time, long Height, long Width)
{
    /// <summary>Tokens of one latent frame.</summary>
    public long FrameTokens => Height * Width;

    /// <summary>Tokens of the clip.</summary>
    public long Tokens => Time * FrameTokens;

    /// <summary>Size of a latent clip [b, c, t, h, w].</summary>
    /// <exception cref="ArgumentException">It has other dimensions, or its height or width is odd.</exception>
    public static ClipSize Of(Tensor clip)
    {
        var shape = clip.Shape;
        return shape.Length == 5 && shape[3] % Patches.Size == 0 && shape[4] % Patches.Size == 0
            ? new ClipSize(shape[2], shape[3] / Patches.Size, shape[4] / Patches.Size)
            : throw new ArgumentException($"a clip of shape [{string.Join(", ", shape)}] is not [batch, channels, time, height, width] with even height and width");
    }
}
