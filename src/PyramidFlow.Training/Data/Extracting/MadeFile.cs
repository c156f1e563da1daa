using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Data.Extracting;

/// <summary>Files that say what they were made from, so that a run that goes on knows which are finished.</summary>
internal static class MadeFile
{
    private const string Key = "made_from";

    public static Dictionary<string, string> Metadata(string madeFrom) => new() { [Key] = madeFrom };

    /// <summary>Whether a file is there, whole, and made from the same.</summary>
    public static bool IsFinished(string path, string madeFrom)
    {
        if (!File.Exists(path))
            return false;
        try
        {
            using var file = SafetensorsFile.Open(path);
            return file.Metadata.GetValueOrDefault(Key) == madeFrom;
        }
        catch (CheckpointException)
        {
            // Damaged: it is made again.
            return false;
        }
    }
}
