using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>Tells a picture from a video by its first bytes; what a sender says about it counts for nothing.</summary>
public static class UploadKind
{
    /// <summary>Bytes that are enough to tell.</summary>
    public const int Bytes = 16;

    /// <summary>The kind of a file; null is neither.</summary>
    /// <param name="start">Its first <see cref="Bytes"/> bytes, or all of a shorter one.</param>
    public static VideoInputKind? Of(ReadOnlySpan<byte> start)
    {
        if (Begins(start, 0x89, 'P', 'N', 'G') || Begins(start, 0xff, 0xd8, 0xff) || start.StartsWith("BM"u8) || start.StartsWith("qoif"u8) || start.StartsWith("II*\0"u8) || start.StartsWith("MM\0*"u8) || Is(start, "RIFF"u8, "WEBP"u8))
            return VideoInputKind.Image;
        if (start.StartsWith("GIF8"u8) || Begins(start, 0x1a, 0x45, 0xdf, 0xa3) || Is(start, "RIFF"u8, "AVI "u8) || start.StartsWith("OggS"u8)
            || start.StartsWith("FLV"u8) || Begins(start, 0, 0, 1, 0xba))
            return VideoInputKind.Video;
        if (start.Length < 12 || !start[4..].StartsWith("ftyp"u8))
            return null;
        // AVIF and HEIF pictures are wrapped like mp4.
        return start[8..].StartsWith("avif"u8) || start[8..].StartsWith("mif1"u8) || start[8..].StartsWith("hei"u8) ? VideoInputKind.Image : VideoInputKind.Video;
    }

    private static bool Begins(ReadOnlySpan<byte> start, params ReadOnlySpan<int> bytes)
    {
        for (var i = 0; i < bytes.Length; i++)
        {
            if (i >= start.Length || start[i] != bytes[i])
                return false;
        }

        return true;
    }

    private static bool Is(ReadOnlySpan<byte> start, ReadOnlySpan<byte> first, ReadOnlySpan<byte> type) =>
        start.StartsWith(first) && start.Length >= 12 && start[8..].StartsWith(type);
}
