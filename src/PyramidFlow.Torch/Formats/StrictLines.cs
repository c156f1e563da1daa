namespace PyramidFlow.Torch.Formats;

/// <summary>Lines of a text file as bytes, so that one that is no text spoils no other.</summary>
public static class StrictLines
{
    private const int MostBytes = 64 << 20;

    /// <summary>Reads the lines one after another.</summary>
    /// <param name="file">The text; it stays the caller's.</param>
    /// <returns>The number of each line, from 1, and its bytes without the line's end; a byte order mark is left out.</returns>
    /// <exception cref="MalformedTextException">A line is longer than 64 MiB.</exception>
    public static IEnumerable<(int Number, ReadOnlyMemory<byte> Utf8)> Of(Stream file)
    {
        var buffer = new byte[64 << 10];
        var (start, end, isOver) = (0, 0, false);
        for (var number = 1; ; number++)
        {
            int length;
            while ((length = buffer.AsSpan(start, end - start).IndexOf((byte)'\n')) < 0 && !isOver)
            {
                if (start > 0)
                    buffer.AsSpan(start, end - start).CopyTo(buffer);
                (start, end) = (0, end - start);
                if (end == buffer.Length)
                    Array.Resize(ref buffer, end < MostBytes ? 2 * end : throw new MalformedTextException(number, $"it is longer than {MostBytes >> 20} MiB, which no such line is"));
                var count = file.Read(buffer, end, buffer.Length - end);
                (end, isOver) = (end + count, count == 0);
            }

            if (length < 0 && start == end)
                yield break;
            length = length < 0 ? end - start : length;
            ReadOnlySpan<byte> line = buffer.AsSpan(start, length);
            if (number == 1)
                line = StrictText.WithoutMark(line);
            if (line is [.., (byte)'\r'])
                line = line[..^1];
            yield return (number, line.ToArray());
            start = Math.Min(end, start + length + 1);
        }
    }
}
