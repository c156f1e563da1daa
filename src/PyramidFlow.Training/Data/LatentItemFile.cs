using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Data;

/// <summary>
/// Latents of one item as the VAE gives them, before shift and scale: [1, c, t, h, w]. In safetensors the tensor
/// <c>latent</c>; in <c>.pt</c> nothing but the tensor, as released.
/// </summary>
internal static class LatentItemFile
{
    public const string Key = "latent";

    // What marks latents that were shifted and scaled for a transformer (generate --save-latents).
    private const string Normalised = "latents";

    /// <summary>The shape, [1, c, t, h, w], without reading the numbers.</summary>
    /// <exception cref="BadItemException">The file is missing, damaged, or holds no latents.</exception>
    public static long[] Shape(string path)
    {
        using var file = TensorFile.Open(path);
        return Describe(file, path).Shape;
    }

    /// <summary>The first frames as float32, [c, frames, h, w].</summary>
    /// <exception cref="BadItemException">The file is missing, damaged, or holds other latents than its header said before.</exception>
    public static float[] Read(string path, int frames)
    {
        using var file = TensorFile.Open(path);
        var (key, shape) = Describe(file, path);
        if (shape[2] < frames)
            throw new BadItemException(DataFaultKind.WrongShape, $"{path} holds {shape[2]} latent frames now, not {frames}");
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var latent = file.Read(key).Reshape(shape).Narrow(2, 0, frames).To(ElementType.Float32).Contiguous();
        var numbers = latent.ToArray<float>();
        return Array.TrueForAll(numbers, float.IsFinite) ? numbers : throw NotFinite(path);
    }

    /// <summary>Reads all numbers and lets them go.</summary>
    /// <exception cref="BadItemException">The file is damaged, holds no latents or numbers that are not finite.</exception>
    public static void Check(string path) => Read(path, (int)Shape(path)[2]);

    public static void Write(string path, Tensor latent, IReadOnlyDictionary<string, string> metadata) =>
        SafetensorsWriter.Write(path, [(Key, latent)], metadata);

    private static (string Key, long[] Shape) Describe(StateSource file, string path)
    {
        if (file.Keys.Contains(Normalised))
            throw new BadItemException(DataFaultKind.WrongShape, $"{path} holds latents that were shifted and scaled for a transformer: make them with extract latents");
        var key = file.Keys.Contains(Key) ? Key : file.Keys.Count == 1 ? file.Keys.First() : null;
        if (key is null)
            throw new BadItemException(DataFaultKind.WrongShape, $"{path} holds {file.Keys.Count} tensors and none is called {Key}");
        var (shape, type) = file.Describe(key);
        if (!type.IsFloatingPoint())
            throw new BadItemException(DataFaultKind.WrongShape, $"{path} holds latents of {type}: they are floating-point numbers");
        return shape switch
        {
            [1, > 0, > 0, > 0, > 0] => (key, shape),
            [> 0, > 0, > 0, > 0] => (key, [1, .. shape]),
            _ => throw new BadItemException(DataFaultKind.WrongShape, $"{path} holds a tensor of {TensorFile.Text(shape)}: latents of an item are [1, channels, frames, height, width]"),
        };
    }

    private static BadItemException NotFinite(string path) => new(DataFaultKind.Damaged, TensorFile.NotFinite(path));
}
