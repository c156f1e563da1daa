using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace PyramidFlow.Training.Runs;

/// <summary>Reads training configurations: JSON with comments, where an unknown key is an error.</summary>
public static class TrainingConfigFile
{
    /// <summary>Reads one file.</summary>
    /// <exception cref="ArgumentException">The file is missing or not such a configuration; the message says where.</exception>
    public static T Read<T>(string path, JsonTypeInfo<T> type)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllText(path), type)
                ?? throw new ArgumentException($"{path} is empty");
        }
        catch (JsonException e)
        {
            throw new ArgumentException($"{path}, line {e.LineNumber + 1}: {e.Message}", e);
        }
        catch (InvalidOperationException e)
        {
            // The network's own configuration keeps keys it does not know, which this reader cannot hand to it.
            throw new ArgumentException($"{path}: the network (vae, transformer) has a key that is unknown; see configs/ for those there are", e);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ArgumentException($"{path} does not exist: the configurations that come with the program are in configs/", e);
        }
    }
}
