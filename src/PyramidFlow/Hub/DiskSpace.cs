namespace PyramidFlow.Hub;

/// <summary>Whether what is to be written has room.</summary>
internal static class DiskSpace
{
    private const long Spare = 64 << 20;

    /// <summary>A sentence when it has not, else null.</summary>
    /// <param name="folder">Where to; it need not exist.</param>
    /// <param name="bytes">How much.</param>
    /// <param name="free">Free bytes on the disk of a folder that exists; null asks the system.</param>
    internal static string? Shortage(string folder, long bytes, Func<string, long>? free = null)
    {
        var place = Path.GetFullPath(folder);
        while (!Directory.Exists(place))
        {
            if (Path.GetDirectoryName(place) is not { } parent)
                return $"{folder} is on no disk: choose another place";
            place = parent;
        }

        var available = (free ?? (path => new DriveInfo(path).AvailableFreeSpace))(place);
        return bytes == 0 || bytes + Spare <= available ? null : FormattableString.Invariant(
            $"{folder} needs {bytes / 1e9:F1} GB more and its disk has {available / 1e9:F1} GB free: free some space, or choose another disk");
    }
}
