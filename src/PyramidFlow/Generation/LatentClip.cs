using PyramidFlow.Hub;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// Latents of a clip as plain numbers: they outlive the pipeline, can be kept in a file (<see cref="LatentFile"/>), decoded,
/// and gone on from.
/// </summary>
public sealed class LatentClip
{
    private readonly float[] values;

    private LatentClip(float[] values, long[] shape, LatentNormalization normalization)
    {
        this.values = values;
        (Channels, Frames, Height, Width) = ((int)shape[1], (int)shape[2], (int)shape[3], (int)shape[4]);
        Normalization = normalization;
    }

    /// <summary>Channels of a latent.</summary>
    public int Channels { get; }

    /// <summary>Latent frames.</summary>
    public int Frames { get; }

    /// <summary>Rows; 8 pixels each.</summary>
    public int Height { get; }

    /// <summary>Columns; 8 pixels each.</summary>
    public int Width { get; }

    /// <summary>Shift and scale that have been applied; a pipeline goes on only from latents with its own.</summary>
    public LatentNormalization Normalization { get; }

    /// <summary>The numbers, [channels, frames, height, width] row by row.</summary>
    public ReadOnlyMemory<float> Values => values;

    /// <summary>Copies latents.</summary>
    /// <param name="latents">Normalised latents as the transformer sees them, [1, c, t, h, w].</param>
    /// <param name="normalization">How they were normalised.</param>
    /// <exception cref="ArgumentException">They have another shape, or numbers that are not finite.</exception>
    public static LatentClip Of(Tensor latents, LatentNormalization normalization)
    {
        using var scope = new TensorScope();
        var shape = latents.Shape;
        if (shape.Length != 5 || shape[0] != 1 || shape.Any(size => size < 1))
            throw new ArgumentException($"latents of a clip are [1, channels, frames, height, width], not [{string.Join(", ", shape)}]", nameof(latents));
        var values = latents.To(ElementType.Float32).To(Device.Cpu).Contiguous().ToArray<float>();
        return Array.TrueForAll(values, float.IsFinite) ? new LatentClip(values, shape, normalization)
            : throw new ArgumentException("latents of a clip have numbers that are not finite: they cannot be decoded or gone on from", nameof(latents));
    }

    /// <summary>Clips one after another as one clip.</summary>
    /// <param name="clips">At least one, all of one size and normalisation.</param>
    /// <exception cref="ArgumentException">There is none, or they differ.</exception>
    public static LatentClip Join(IReadOnlyList<LatentClip> clips)
    {
        if (clips.Count == 0)
            throw new ArgumentException("there are no latents to join", nameof(clips));
        var first = clips[0];
        if (clips.FirstOrDefault(c => (c.Channels, c.Height, c.Width, c.Normalization) != (first.Channels, first.Height, first.Width, first.Normalization)) is { } other)
            throw new ArgumentException($"latents of {other.Channels} x {other.Width}x{other.Height} do not go on from {first.Channels} x {first.Width}x{first.Height}", nameof(clips));
        using var scope = new TensorScope();
        return Of(Tensor.Cat([.. clips.Select(clip => clip.ToTensor())], 2), first.Normalization);
    }

    /// <summary>Fails unless a model sees latents as these are.</summary>
    /// <param name="model">How it sees them.</param>
    /// <exception cref="ArgumentException">It sees them otherwise.</exception>
    internal void CheckNormalization(LatentNormalization model)
    {
        if (Normalization != model)
            throw new ArgumentException("the latents are those of another model: use the one they were made with");
    }

    /// <summary>The latents, float32 on the CPU: [1, c, t, h, w].</summary>
    public Tensor ToTensor() => Tensor.From(values, 1, Channels, Frames, Height, Width);
}
