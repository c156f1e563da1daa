using System.Buffers.Binary;
using System.Text;

namespace PyramidFlow.Media;

/// <summary>The outermost boxes of an mp4 file (ISO 14496-12, section 4.2): length, type, content.</summary>
internal static class Mp4Boxes
{
    /// <summary>Lists the boxes.</summary>
    /// <exception cref="InvalidDataException">A box is longer than the file.</exception>
    public static IReadOnlyList<(string Type, int Offset, int Length)> Of(ReadOnlySpan<byte> file)
    {
        var boxes = new List<(string, int, int)>();
        for (var offset = 0; offset < file.Length;)
        {
            var rest = file[offset..];
            var length = rest.Length < 8 ? 0L : BinaryPrimitives.ReadUInt32BigEndian(rest);
            if (length == 1 && rest.Length >= 16)
                length = BinaryPrimitives.ReadInt64BigEndian(rest[8..]);
            if (length < 8 || length > rest.Length)
                throw new InvalidDataException($"the box at byte {offset} is cut short");
            boxes.Add((Encoding.Latin1.GetString(rest[4..8]), offset, (int)length));
            offset += (int)length;
        }

        return boxes;
    }
}
