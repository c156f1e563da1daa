using System.Buffers.Binary;

namespace PyramidFlow.Testing;

/// <summary>Breaks videos in ways that show late.</summary>
internal static class DamagedVideo
{
    /// <summary>Overwrites the frames of an mp4 file and leaves all that describes them.</summary>
    public static void Spoil(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var name = bytes.AsSpan().IndexOf("mdat"u8);
        var length = (int)BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(name - 4));
        bytes.AsSpan(name + 4, length - 8).Fill(0x55);
        File.WriteAllBytes(path, bytes);
    }
}
