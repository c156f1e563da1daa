using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Latents at all resolutions of the spatial pyramid, and the history cut from them (temporal pyramid).</summary>
internal static class LatentPyramid
{
    /// <summary>Clean latents at every stage: bilinear halvings, lowest resolution first.</summary>
    /// <param name="latents">[b, c, t, h, w]; h and w divisible by 2^(stages - 1).</param>
    /// <param name="stages">Number of stages.</param>
    public static Tensor[] Build(Tensor latents, int stages)
    {
        var pyramid = new Tensor[stages];
        pyramid[stages - 1] = latents;
        for (var stage = stages - 2; stage >= 0; stage--)
            pyramid[stage] = Halve(pyramid[stage + 1]);
        return pyramid;
    }

    /// <summary>Full-resolution noise brought to a lower stage: bilinear halvings, each times 2 to keep unit variance.</summary>
    public static Tensor Noise(Tensor noise, int halvings)
    {
        for (var i = 0; i < halvings; i++)
            noise = Halve(noise) * 2;
        return noise;
    }

    /// <summary>Half the height and width, bilinear: [b, c, t, h, w] to [b, c, t, h/2, w/2].</summary>
    public static Tensor Halve(Tensor x) => PerFrame(x, f => f.InterpolateBilinear(f.Size(2) / 2, f.Size(3) / 2));

    /// <summary>Twice the height and width, nearest: [b, c, t, h, w] to [b, c, t, 2h, 2w].</summary>
    public static Tensor Double(Tensor x) => PerFrame(x, f => f.InterpolateNearest(2 * f.Size(2), 2 * f.Size(3)));

    /// <summary>Condition clips of a unit at one stage, oldest first; see <see cref="HistoryRanges"/>.</summary>
    /// <param name="pyramid">Latents of a clip, from <see cref="Build"/>.</param>
    /// <param name="unit">Number of the unit, 1 or more; 1 + (unit - 1) * framesPerUnit frames lie before it.</param>
    /// <param name="stage">Stage of the unit.</param>
    /// <param name="framesPerUnit">Latent frames of a unit.</param>
    public static List<Tensor> History(IReadOnlyList<Tensor> pyramid, int unit, int stage, int framesPerUnit) =>
        HistoryAfter(pyramid, 1 + ((long)(unit - 1) * framesPerUnit), stage, framesPerUnit);

    /// <summary>Condition clips of what follows the first latent frames at one stage, oldest first.</summary>
    /// <param name="pyramid">Latents, from <see cref="Build"/>.</param>
    /// <param name="frames">How many of their frames lie before.</param>
    /// <param name="stage">Stage of the unit.</param>
    /// <param name="framesPerUnit">Latent frames of a unit.</param>
    public static List<Tensor> HistoryAfter(IReadOnlyList<Tensor> pyramid, long frames, int stage, int framesPerUnit) =>
        [.. HistoryRanges(frames, stage, framesPerUnit).Select(clip => pyramid[clip.Level].Narrow(2, clip.Start, clip.Count))];

    /// <summary>
    /// The frames that condition a unit, and their resolutions, oldest first: going back in time the resolution
    /// drops one stage per unit, and everything older stays at the lowest one, as a single clip.
    /// </summary>
    /// <param name="frames">Latent frames before the unit; none for the first.</param>
    /// <param name="stage">Stage of the unit.</param>
    /// <param name="framesPerUnit">Latent frames of a unit; the oldest one may have fewer.</param>
    public static IReadOnlyList<(int Level, long Start, long Count)> HistoryRanges(long frames, int stage, int framesPerUnit)
    {
        var end = frames;
        var clips = new List<(int Level, long Start, long Count)>();
        for (var level = stage; end > 0 && (level > 0 || clips.Count == 0); level--)
        {
            var start = Math.Max(0, end - framesPerUnit);
            clips.Add((level, start, end - start));
            end = start;
        }

        if (end > 0)
            clips.Add((0, 0, end));
        clips.Reverse();
        return clips;
    }

    /// <summary>Leading frames of <see cref="HistoryRanges"/> at the lowest resolution: they stand there in every later unit.</summary>
    internal static long FinalFrames(long frames, int stage, int framesPerUnit) =>
        HistoryRanges(frames, stage, framesPerUnit).TakeWhile(clip => clip.Level == 0).Sum(clip => clip.Count);

    private static Tensor PerFrame(Tensor x, Func<Tensor, Tensor> resize)
    {
        var (batch, time) = (x.Size(0), x.Size(2));
        var frames = x.Transpose(1, 2).Flatten(0, 1);                                              // [b t, c, h, w]
        return resize(frames).Unflatten(0, batch, time).Transpose(1, 2);                           // [b, c, t, h', w']
    }
}

/// <summary>Between the latents of the VAE and those of the transformer.</summary>
internal static class LatentScaling
{
    /// <summary>(z - shift) * scale.</summary>
    /// <param name="normalization">Shift and scale.</param>
    /// <param name="latents">The VAE's latents, [b, c, t, h, w].</param>
    /// <param name="isStart">Whether the first frame begins the video and so has the statistics of images.</param>
    public static Tensor Normalize(this LatentNormalization normalization, Tensor latents, bool isStart) =>
        PerKind(latents, isStart,
            image => (image - normalization.ImageShift) * normalization.ImageScale,
            video => (video - normalization.VideoShift) * normalization.VideoScale);

    /// <summary>z / scale + shift.</summary>
    /// <param name="normalization">Shift and scale.</param>
    /// <param name="latents">The transformer's latents, [b, c, t, h, w].</param>
    /// <param name="isStart">Whether the first frame begins the video.</param>
    public static Tensor Denormalize(this LatentNormalization normalization, Tensor latents, bool isStart) =>
        PerKind(latents, isStart,
            image => (image / normalization.ImageScale) + normalization.ImageShift,
            video => (video / normalization.VideoScale) + normalization.VideoShift);

    private static Tensor PerKind(Tensor latents, bool isStart, Func<Tensor, Tensor> image, Func<Tensor, Tensor> video)
    {
        using var scope = new TensorScope();
        var frames = latents.Size(2);
        if (!isStart || frames == 1)
            return scope.Keep(isStart ? image(latents) : video(latents));
        return scope.Keep(Tensor.Cat([image(latents.Narrow(2, 0, 1)), video(latents.Narrow(2, 1, frames - 1))], 2));
    }
}
