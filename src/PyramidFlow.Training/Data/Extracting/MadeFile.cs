using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Data.Extracting;

/// <summary>Files that say what they were made from, so that a run that goes on knows which are finished.</summary>
internal static class MadeFile
{
    private const string Key = "made_from";

    public static Dictionary<string, string> Metadata(string madeFrom) => new() { [Key] = madeFrom };

    /// <summary>Whether a file was made by an extraction, so that the same one makes it again.</summary>
    public static bool IsMade(string path)
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
