using System.Buffers.Binary;

namespace PyramidFlow.Testing;

/// <summary>Videos that say they are to be shown turned, as phones write them; how to ask ffmpeg for one changes with its version.</summary>
internal static class RotatedVideo
{
    // After the name of a track's header: its version and flags, times, number, length, layer, group and volume.
    private const int BeforeMatrix = 4 + 40;
    private const int One = 1 << 16, Unit = 1 << 30;

    /// <summary>Makes an .mp4 show its picture a quarter turn to the right.</summary>
    /// <param name="path">The file, of one video track; changed in place.</param>
    /// <param name="height">Its height before, which the turned picture is moved by.</param>
    public static void Turn(string path, int height)
    {
        var bytes = File.ReadAllBytes(path);
        var header = bytes.AsSpan().IndexOf("tkhd"u8);
        Assert.True(header > 0, $"{path} has no track");
        int[] matrix = [0, One, 0, -One, 0, 0, height * One, 0, Unit];
        foreach (var (i, value) in matrix.Index())
            BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(header + BeforeMatrix + (i * sizeof(int))), value);
        File.WriteAllBytes(path, bytes);
    }
}
