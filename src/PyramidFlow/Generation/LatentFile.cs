using System.Globalization;
using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Generation;

/// <summary>
/// Latents in a safetensors file: the tensor <c>latents</c>, [1, c, t, h, w] float32, with shift, scale and whatever else
/// is known about them as metadata.
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
            all["settings"] = ReadableJson.Write(writer =>
            {
                writer.WriteStartObject();
                SettingsTable.Write(writer, settings.Options, setting => setting.IsNoted ? setting.Name : null);
                writer.WriteEndObject();
            });
        SafetensorsWriter.Write(path, [(Key, latents.ToTensor())], all);
    }

    /// <summary>Reads latents.</summary>
    /// <param name="path">A file of <see cref="Write"/>.</param>
    /// <param name="metadata">All metadata of the file.</param>
    /// <exception cref="CheckpointException">The file is missing, damaged, holds no latents, or numbers that are not finite.</exception>
    public static LatentClip Read(string path, out IReadOnlyDictionary<string, string> metadata)
    {
        using var file = SafetensorsFile.Open(path);
        using var scope = new TensorScope();
        if (!file.Entries.TryGetValue(Key, out var entry) || entry.Shape is not [1, > 0, > 0, > 0, > 0] || !entry.Type.IsFloatingPoint())
            throw new CheckpointException($"{path} holds no latents of a clip: use a file that was written by this program");
        metadata = file.Metadata;
        var known = file.Metadata;
        double[] values = [.. Statistics.Select(name => known.TryGetValue(name, out var text) && PlainNumber.TryReal(text, out var value)
            ? value
            : throw new CheckpointException($"{path} does not say {name}, so that its latents cannot be read: use a file that was written by this program"))];
        var latents = file.Tensor(entry).To(ElementType.Float32);
        if (!latents.AllFinite())
            throw new CheckpointException($"{path} holds numbers that are not finite in {Key}: make the latents again");
        return LatentClip.Of(latents, new LatentNormalization(values[0], values[1], values[2], values[3]));
    }
}
