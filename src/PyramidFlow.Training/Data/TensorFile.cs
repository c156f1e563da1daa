using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Data;

/// <summary>Opens tensor files of annotations: <c>.safetensors</c>, or <c>.pt</c> as released.</summary>
internal static class TensorFile
{
    /// <summary>Key of the tensor in a <c>.pt</c> file that holds one bare tensor.</summary>
    public const string Bare = "";

    /// <summary>Endings of files that can be opened.</summary>
    public static readonly string[] Endings = [".safetensors", ".pt", ".pth", ".bin"];

    /// <exception cref="BadItemException">The file is missing, damaged or of another format.</exception>
    public static StateSource Open(string path)
    {
        if (!File.Exists(path))
            throw MediaFaults.Missing(path);
        try
        {
            return Path.GetExtension(path).ToLowerInvariant() switch
            {
                ".safetensors" => SafetensorsFile.Open(path),
                ".pt" or ".pth" or ".bin" => TorchArchive.Open(path, bareKey: Bare),
                _ => throw new BadItemException(DataFaultKind.Damaged, TrainingFault.NoTensorFile(path)),
            };
        }
        catch (CheckpointException e)
        {
            throw new BadItemException(DataFaultKind.Damaged, e);
        }
    }

    /// <summary>The error for a file with NaN or infinities.</summary>
    public static BadItemException NotFinite(string path) => new(DataFaultKind.Damaged, TrainingFault.NumbersNotFinite(path, Provenance.IsExtracted(path)));
}

/// <summary>Records the inputs of an extracted file and its encoder in its metadata: a resumed extraction recognises finished files, and a training those of another model.</summary>
internal static class Provenance
{
    private const string Key = "made_from", EncoderKey = "encoder";

    /// <summary>Metadata of a file.</summary>
    /// <param name="madeFrom">Fingerprint of the inputs.</param>
    /// <param name="encoder">Identity of the model (<see cref="SourceModel"/>); null where it is unknown.</param>
    public static Dictionary<string, string> Metadata(string madeFrom, string? encoder) =>
        encoder is null ? new() { [Key] = madeFrom } : new() { [Key] = madeFrom, [EncoderKey] = encoder };

    /// <summary>Identity of the model that a file comes from; null where the file does not say it.</summary>
    public static string? EncoderOf(StateSource file) => (file as SafetensorsFile)?.Metadata.GetValueOrDefault(EncoderKey);

    /// <summary>The same for a file that can be opened.</summary>
    /// <exception cref="BadItemException">It is damaged.</exception>
    public static string? EncoderOf(string path)
    {
        using var file = TensorFile.Open(path);
        return EncoderOf(file);
    }

    /// <summary>Whether a file may come from a model: it says that it does, or nothing.</summary>
    /// <param name="encoder">Identity that the file says, or null.</param>
    /// <param name="expected">Identity of the model; null where it is unknown.</param>
    public static bool Fits(string? encoder, string? expected) => encoder is null || expected is null || encoder == expected;

    /// <summary>Whether a file was written by an extraction, which can write it again.</summary>
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

    /// <summary>Whether a file exists, is complete, and was made from the same inputs.</summary>
    /// <param name="path">The file.</param>
    /// <param name="madeFrom">Fingerprint of the inputs.</param>
    /// <param name="check">Validates the file; throws <see cref="BadItemException"/> if it is unusable.</param>
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
            // Damaged files are extracted again.
            return false;
        }
    }
}
