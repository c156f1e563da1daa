using System.Globalization;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// SD3's patch embedding for clips: a convolution over 2x2 patches, plus a fixed sine-cosine table of their positions. The
/// noisy unit takes the middle of the table; a clip of lower resolution takes the same part, interpolated, or its own middle.
/// </summary>
internal sealed class PatchEmbedding : Module
{
    private readonly PyramidMmditConfig config;
    private readonly Parameter posEmbed;
    private readonly Parameter? tempPosEmbed;

    [Key("proj.weight")]
    private readonly Parameter kernel;

    [Key("proj.bias")]
    private readonly Parameter bias;

    /// <summary>Declares it.</summary>
    public PatchEmbedding(PyramidMmditConfig config)
    {
        this.config = config;
        var (side, dim, channels) = (config.PosEmbedMaxSize, config.Dim, config.InChannels);
        var step = (double)(config.SampleSize / Patches.Size) / side;
        posEmbed = Fixed(side * side, () => SinCosTable.Grid(side, step, (int)dim));
        kernel = new Parameter([dim, channels, Patches.Size, Patches.Size], Initializers.XavierUniform(Patches.Size * Patches.Size * channels, dim));
        bias = new Parameter([dim], Initializers.Zeros);
        if (config.Time == TimePositions.SinCos)
            tempPosEmbed = Fixed(config.MaxNumFrames, () => SinCosTable.Line(config.MaxNumFrames, 1, (int)dim));

        Parameter Fixed(long count, Func<float[]> table) =>
            new([1, count, dim], (weight, _) => weight.CopyFrom(Tensor.From(table(), 1, count, dim))) { Trainable = false };
    }

    /// <summary>Position embeddings of each clip's tokens, for <see cref="Forward"/>.</summary>
    /// <param name="clips">Sizes, history oldest first, the noisy unit last.</param>
    /// <returns>For each clip [1, t or 1, h*w, d] of the weights' type, in no scope: the caller disposes them.</returns>
    /// <exception cref="ArgumentException">The tables do not reach that far.</exception>
    public IReadOnlyList<Tensor> PositionEmbeddings(IReadOnlyList<ClipSize> clips)
    {
        CheckSize(clips);
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var frame = 0L;
        var positions = new List<Tensor>();
        foreach (var clip in clips)
        {
            var position = Grid(clip, config.InterpConditionPos ? clips[^1] : clip);    // [1, h*w, d]
            position = position.Unsqueeze(1);                                           // [1, 1, h*w, d]
            if (tempPosEmbed is not null)
                position += tempPosEmbed.Value.Narrow(1, frame, clip.Time).Unsqueeze(2); // [1, t, h*w, d]
            frame += clip.Time;
            positions.Add(position.Contiguous());
        }

        return [.. positions.Select(TensorScope.Release)];
    }

    /// <summary>Embeds a clip.</summary>
    /// <param name="clip">[b, c, t, h, w].</param>
    /// <param name="positions">Its part of <see cref="PositionEmbeddings"/>.</param>
    /// <returns>[b, t*h/2*w/2, d].</returns>
    public Tensor Forward(Tensor clip, Tensor positions)
    {
        // A convolution without overlap is a linear layer on patches, whose order is row, column, channel.
        var weight = kernel.Value.Permute(0, 2, 3, 1).Flatten(1);                           // [d, 4c]
        var x = Patches.Cut(clip).Linear(weight, bias);                                     // [b, t*n, d]
        return (x.Unflatten(1, clip.Size(2), -1) + positions).Flatten(1, 2);                // [b, t*n, d]
    }

    // The middle of the table at the size of `over`, interpolated to the clip's size.
    private Tensor Grid(ClipSize clip, ClipSize over)
    {
        var side = config.PosEmbedMaxSize;
        var middle = posEmbed.Value.Unflatten(1, side, side)
            .Narrow(1, (side - over.Height) / 2, over.Height).Narrow(2, (side - over.Width) / 2, over.Width); // [1, h, w, d]
        if ((clip.Height, clip.Width) != (over.Height, over.Width))
        {
            middle = middle.Permute(0, 3, 1, 2).To(ElementType.Float32).InterpolateBilinear(clip.Height, clip.Width)
                .Permute(0, 2, 3, 1).To(posEmbed.Value.Type);                               // [1, h, w, d]
        }

        return middle.Flatten(1, 2);                                                        // [1, h*w, d]
    }

    private void CheckSize(IReadOnlyList<ClipSize> clips)
    {
        var side = config.PosEmbedMaxSize;
        if (clips.FirstOrDefault(clip => clip.Height > side || clip.Width > side) is { Time: > 0 } large)
        {
            throw new ArgumentException(string.Create(CultureInfo.InvariantCulture,
                $"{large.Width}x{large.Height} patches are more than the {side}x{side} this transformer has positions for: use a smaller frame"));
        }

        var frames = clips.Sum(clip => clip.Time);
        if (tempPosEmbed is not null && frames > config.MaxNumFrames)
        {
            throw new ArgumentException(string.Create(CultureInfo.InvariantCulture,
                $"{frames} latent frames are more than the {config.MaxNumFrames} this transformer has positions for: make a shorter clip"));
        }
    }
}

/// <summary>
/// Fixed position embeddings: sines, then cosines of a position at frequencies from 1 down to nearly 1/10000 (the tables of
/// <c>pyramid_dit/mmdit_modules/modeling_embedding.py</c>).
/// </summary>
internal static class SinCosTable
{
    private const double Period = 10000;

    /// <summary>Embeddings of the positions 0, <paramref name="step"/>, 2 x step, ...</summary>
    /// <param name="count">How many.</param>
    /// <param name="step">Distance of two neighbours.</param>
    /// <param name="dim">Width of an embedding; even.</param>
    /// <returns>count x dim values.</returns>
    public static float[] Line(int count, double step, int dim)
    {
        var half = dim / 2;
        var table = new float[(long)count * dim];
        for (var i = 0; i < count; i++)
        {
            var row = table.AsSpan(i * dim, dim);
            // Positions are float32 in the released tables.
            var position = (double)(float)(i * step);
            for (var f = 0; f < half; f++)
            {
                var (sin, cos) = Math.SinCos(position / Math.Pow(Period, (double)f / half));
                (row[f], row[half + f]) = ((float)sin, (float)cos);
            }
        }

        return table;
    }

    /// <summary>Embeddings of a square grid, row after row: the first half of the width tells the column, the second the row.</summary>
    /// <param name="size">Positions on a side.</param>
    /// <param name="step">Distance of two neighbours.</param>
    /// <param name="dim">Width of an embedding; a multiple of 4.</param>
    /// <returns>size x size x dim values.</returns>
    public static float[] Grid(int size, double step, int dim)
    {
        var half = dim / 2;
        var line = Line(size, step, half);
        var table = new float[(long)size * size * dim];
        for (var row = 0; row < size; row++)
        {
            for (var column = 0; column < size; column++)
            {
                var target = table.AsSpan(((row * size) + column) * dim, dim);
                line.AsSpan(column * half, half).CopyTo(target);
                line.AsSpan(row * half, half).CopyTo(target[half..]);
            }
        }

        return table;
    }
}
