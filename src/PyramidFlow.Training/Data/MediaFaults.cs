using System.ComponentModel;
using PyramidFlow.Media;

namespace PyramidFlow.Training.Data;

/// <summary>Turns what the media readers say about a file into the fault of an item.</summary>
internal static class MediaFaults
{
    /// <summary>Reads something of a file.</summary>
    /// <exception cref="BadItemException">The file is missing or cannot be read. A missing ffmpeg is no fault of the item.</exception>
    public static async Task<T> GuardAsync<T>(string path, Func<Task<T>> read)
    {
        if (!File.Exists(path))
            throw Missing(path);
        try
        {
            return await read().ConfigureAwait(false);
        }
        catch (MediaException e) when (e.InnerException is not Win32Exception)
        {
            throw new BadItemException(DataFaultKind.Damaged, e.Message, e);
        }
    }

    public static BadItemException Missing(string path) =>
        new(DataFaultKind.Missing, Directory.Exists(path) ? $"{path} is a folder, not a file" : $"{path} does not exist");
}
