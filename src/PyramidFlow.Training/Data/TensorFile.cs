using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Data;

/// <summary>Opens what an annotation names: <c>.safetensors</c>, or <c>.pt</c> as released.</summary>
internal static class TensorFile
{
    /// <summary>Key of the tensor of a <c>.pt</c> file that is nothing but one tensor.</summary>
    public const string Bare = "";

    /// <exception cref="BadItemException">It is missing, damaged or of another kind.</exception>
    public static StateSource Open(string path)
    {
        if (!File.Exists(path))
            throw MediaFaults.Missing(path);
        try
        {
            return Path.GetExtension(path).ToLowerInvariant() switch
            {
                ".safetensors" => new SafetensorsSource(path),
                ".pt" or ".pth" or ".bin" => TorchArchive.Open(path, bareKey: Bare),
                _ => throw new BadItemException(DataFaultKind.Damaged, $"{path} holds no tensors: use .safetensors or .pt"),
            };
        }
        catch (CheckpointException e)
        {
            throw new BadItemException(DataFaultKind.Damaged, e.Message, e);
        }
    }

    /// <summary>What is wrong with a file of NaN or infinities, and what mends it.</summary>
    public static string NotFinite(string path) => $"{path} holds numbers that are not finite: " + (Provenance.IsExtracted(path)
        ? "extract it again, the command that made it leaves only good files"
        : "it was not made by an extraction here, make it anew or leave the item out");

    public static string Text(long[] shape) => $"[{string.Join(", ", shape)}]";
}

/// <summary>Files that say what they were made from, so that a run that goes on knows which are finished.</summary>
internal static class Provenance
{
    private const string Key = "made_from";

    public static Dictionary<string, string> Metadata(string madeFrom) => new() { [Key] = madeFrom };

    /// <summary>Whether a file was made by an extraction, so that the same one makes it again.</summary>
    public static bool IsExtracted(string path)
    {
        try
        {
            using var file = SafetensorsFile.Open(path);
            return file.Metadata.ContainsKey(Key);
        }
        catch (CheckpointException)
        {
            return false;
        }
    }

    /// <summary>Whether a file is there, whole, and made from the same.</summary>
    /// <param name="path">The file.</param>
    /// <param name="madeFrom">What it was made from.</param>
    /// <param name="check">Reads it; throws <see cref="BadItemException"/> for one that cannot be used.</param>
    public static bool IsFinished(string path, string madeFrom, Action<string> check)
    {
        if (!File.Exists(path))
            return false;
        try
        {
            using (var file = SafetensorsFile.Open(path))
            {
                if (file.Metadata.GetValueOrDefault(Key) != madeFrom)
                    return false;
            }

            check(path);
            return true;
        }
        catch (Exception e) when (e is CheckpointException or BadItemException)
        {
            // Damaged: it is made again.
            return false;
        }
    }
}
