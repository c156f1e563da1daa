using System.Globalization;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Generation;

/// <summary>
/// Latents of a clip as plain numbers: they outlive the pipeline, can be written to a file (<see cref="LatentFile"/>), decoded,
/// and continued.
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

    /// <summary>Applied shift and scale; a pipeline continues only latents with its own.</summary>
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

    /// <summary>Refuses latents of another model.</summary>
    /// <param name="model">The model's shift and scale.</param>
    /// <exception cref="RequestException">They differ.</exception>
    internal void CheckNormalization(LatentNormalization model)
    {
        if (Normalization != model)
            throw RequestFault.LatentsOfOtherModel();
    }

    /// <summary>Refuses latents of another model.</summary>
    /// <param name="model">Channels of the model's latents.</param>
    /// <exception cref="RequestException">They differ.</exception>
    internal void CheckChannels(long model)
    {
        if (Channels != model)
            throw RequestFault.LatentsOfOtherModel(Channels, model);
    }

    /// <summary>The latents, float32 on the CPU: [1, c, t, h, w].</summary>
    public Tensor ToTensor() => Tensor.From(values, 1, Channels, Frames, Height, Width);
}

/// <summary>
/// Latents in a safetensors file: the tensor <c>latents</c>, [1, c, t, h, w] float32, with shift, scale and the settings
/// as metadata.
/// </summary>
public static class LatentFile
{
    private const string Key = "latents";
    private static readonly string[] Statistics = ["image_shift", "image_scale", "video_shift", "video_scale"];

    /// <summary>Writes latents; the file appears when it is whole.</summary>
    /// <param name="path">Target; replaced if it exists.</param>
    /// <param name="latents">What to write.</param>
    /// <param name="settings">How they were made, kept as metadata; null leaves it out.</param>
    /// <param name="metadata">Further metadata.</param>
    public static void Write(string path, LatentClip latents, GenerationSettings? settings = null, IReadOnlyDictionary<string, string>? metadata = null)
    {
        using var scope = new TensorScope();
        var normalization = latents.Normalization;
        double[] values = [normalization.ImageShift, normalization.ImageScale, normalization.VideoShift, normalization.VideoScale];
        var all = new Dictionary<string, string>(metadata ?? new Dictionary<string, string>());
        foreach (var (name, value) in Statistics.Zip(values))
            all[name] = value.ToString("R", CultureInfo.InvariantCulture);
        if (settings is not null)
            all["settings"] = SettingsTable.ToJson(settings.Options, setting => setting.IsNoted ? setting.Name : null);
        SafetensorsWriter.Write(path, [(Key, latents.ToTensor())], all);
    }

    /// <summary>Reads latents.</summary>
    /// <param name="path">A file of <see cref="Write"/>.</param>
    /// <exception cref="CheckpointException">The file is missing, damaged, holds no latents, or numbers that are not finite.</exception>
    public static LatentClip Read(string path)
    {
        using var file = SafetensorsFile.Open(path);
        using var scope = new TensorScope();
        if (!file.Entries.TryGetValue(Key, out var entry) || entry.Shape is not [1, > 0, > 0, > 0, > 0] || !entry.Type.IsFloatingPoint())
            throw CheckpointFault.NoLatents(path);
        var known = file.Metadata;
        double[] values = [.. Statistics.Select(name => known.TryGetValue(name, out var text) && PlainNumber.TryReal(text, out var value)
            ? value
            : throw CheckpointFault.LatentsLack(path, name))];
        var latents = file.Read(Key).To(ElementType.Float32);
        if (!latents.AllFinite())
            throw CheckpointFault.LatentsNotFinite(path, Key);
        return LatentClip.Of(latents, new LatentNormalization(values[0], values[1], values[2], values[3]));
    }

    /// <summary>Reads all metadata of a file, and none of its latents.</summary>
    /// <param name="path">A file of <see cref="Write"/>.</param>
    /// <exception cref="CheckpointException">The file is missing or damaged.</exception>
    public static IReadOnlyDictionary<string, string> ReadMetadata(string path)
    {
        using var file = SafetensorsFile.Open(path);
        return file.Metadata;
    }
}
