namespace PyramidFlow.Cli.Batches;

/// <summary>Lines that are not blank.</summary>
internal static class LineEntries
{
    public static List<BatchEntry> Of(ReadOnlySpan<byte> bytes)
    {
        var entries = new List<BatchEntry>();
        for (var (start, line) = (0, 1); start < bytes.Length; line++)
        {
            var length = bytes[start..].IndexOf((byte)'\n');
            if (length < 0)
                length = bytes.Length - start;
            if (bytes.Slice(start, length).ContainsAnyExcept(" \t\r"u8))
                entries.Add(new BatchEntry(line, start, length));
            start += length + 1;
        }

        return entries;
    }
}
