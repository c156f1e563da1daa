using System.Runtime.InteropServices;

namespace PyramidFlow.Cli.Terminal;

/// <summary>Files of a service, which hold videos, prompts and keys of cookies: only the user that runs it may read them.</summary>
internal static partial class PrivateFiles
{
    // All rights of the group and of others.
    private const uint Others = 0b111_111;

    /// <summary>Withholds rights of others from all files that this process and those it starts create from now on. Does nothing on Windows.</summary>
    public static void Begin()
    {
        if (!OperatingSystem.IsWindows())
            _ = UMask(UMask(Others) | Others);
    }

    [LibraryImport("libc", EntryPoint = "umask")]
    private static partial uint UMask(uint mask);
}
