using Microsoft.Win32.SafeHandles;

namespace PyramidFlow.Media;

/// <summary>This program's standard output as a stream for a <see cref="VideoStreamWriter"/>.</summary>
public static class StandardOutput
{
    /// <summary>
    /// Opens it without a buffer. Unlike the console's stream it fails when nobody reads any more, so that work can stop.
    /// Closing it leaves standard output open.
    /// </summary>
    public static Stream Open() => Open(descriptor: 1);

    internal static Stream Open(nint descriptor) =>
        new FileStream(new SafeFileHandle(descriptor, ownsHandle: false), FileAccess.Write, bufferSize: 0);
}
