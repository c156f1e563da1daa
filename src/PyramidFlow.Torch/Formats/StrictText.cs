using System.Text;
using System.Text.Unicode;

namespace PyramidFlow.Torch.Formats;

/// <summary>Text or JSON is malformed. The message is a clause without the name of the file, which the reader of the file adds.</summary>
public sealed class MalformedTextException : FormatException
{
    /// <summary>Creates the error.</summary>
    /// <param name="line">Line of the fault, from 1; 0 if lines mean nothing to the user.</param>
    /// <param name="reason">The fault and its fix, without the line.</param>
    /// <param name="key">JSON key of the fault, such as <c>data.sizes</c>, or null.</param>
    /// <param name="inner">The cause, or null.</param>
    public MalformedTextException(long line, string reason, string? key = null, Exception? inner = null)
        : base(line > 0 ? $"line {line}: {reason}" : reason, inner) => (Line, Reason, Key) = (line, reason, key);

    /// <summary>Line of the fault, from 1; 0 if lines mean nothing to the user.</summary>
    public long Line { get; }

    /// <summary>Whether the text is not JSON at all, so that the reader of the file adds what it expects.</summary>
    public bool IsNoJson => InnerException is System.Text.Json.JsonException && Key is null;

    /// <summary>The fault and its fix, without the line.</summary>
    public string Reason { get; }

    /// <summary>JSON key of the fault, such as <c>data.sizes</c>, or null.</summary>
    public string? Key { get; }
}

/// <summary>Reads text from outside the program: valid UTF-8, or an error. Never replaces anything by U+FFFD.</summary>
internal static class StrictText
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Decodes UTF-8 and removes a byte order mark.</summary>
    /// <exception cref="MalformedTextException">The bytes are not UTF-8 text.</exception>
    public static string Decode(ReadOnlySpan<byte> utf8)
    {
        Check(utf8);
        return Strict.GetString(WithoutMark(utf8));
    }

    /// <summary>Checks that bytes are UTF-8 text without NUL.</summary>
    /// <exception cref="MalformedTextException">They are not; the message names the line.</exception>
    public static void Check(ReadOnlySpan<byte> utf8)
    {
        if (utf8 is [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..])
            throw new MalformedTextException(1, "this is UTF-16 text: save it as UTF-8");
        if (utf8.Contains((byte)0))
            throw new MalformedTextException(LineOf(utf8, utf8.IndexOf((byte)0)), "this holds a NUL character: save it as UTF-8 text");
        if (!Utf8.IsValid(utf8))
            throw new MalformedTextException(LineOf(utf8, ValidLength(utf8)), "this is not UTF-8 text: save it as UTF-8");
    }

    /// <summary>Reads a file as text.</summary>
    /// <param name="path">The file.</param>
    /// <param name="maxBytes">Maximum length.</param>
    /// <exception cref="MalformedTextException">The file is longer, or is not UTF-8 text.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static string ReadFile(string path, long maxBytes = 64 << 20) => Decode(ReadBytes(path, maxBytes));

    /// <summary>Reads a whole file up to a maximum length.</summary>
    /// <param name="path">The file.</param>
    /// <param name="maxBytes">Maximum length, below 2 GiB.</param>
    /// <exception cref="MalformedTextException">The file is longer.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static byte[] ReadBytes(string path, long maxBytes = 64 << 20)
    {
        using var file = File.OpenRead(path);
        using var bytes = new MemoryStream((int)Math.Min(file.CanSeek ? file.Length : 0, maxBytes));
        var buffer = new byte[64 << 10];
        int count;
        while ((count = file.Read(buffer)) > 0)
        {
            if (bytes.Length + count > maxBytes)
                throw new MalformedTextException(0, $"it is longer than {maxBytes >> 20} MiB, which no such file is");
            bytes.Write(buffer, 0, count);
        }

        return bytes.ToArray();
    }

    /// <summary>Whether a text has no unpaired surrogate.</summary>
    public static bool IsWhole(ReadOnlySpan<char> text)
    {
        for (var i = text.IndexOfAnyInRange('\uD800', '\uDFFF'); i >= 0 && i < text.Length; i++)
        {
            if (char.IsLowSurrogate(text[i]))
                return false;
            if (char.IsHighSurrogate(text[i]) && (++i == text.Length || !char.IsLowSurrogate(text[i])))
                return false;
        }

        return true;
    }

    /// <summary>Finds the reason why a text cannot be stored and encoded unchanged, as the end of a sentence; null if there is none.</summary>
    /// <param name="text">The text, or null.</param>
    public static string? FindFault(string? text) => text is null ? null
        : text.Contains('\0', StringComparison.Ordinal) ? "contains a null character: remove it"
        : IsWhole(text) ? null
        : HalfCharacter;

    /// <summary>The beginning of a text for an error message: one line, without control characters, never cut inside a surrogate pair.</summary>
    /// <param name="text">The text.</param>
    /// <param name="most">Maximum number of characters; three dots replace the rest.</param>
    public static string OneLine(string text, int most = 60)
    {
        if (text.Length > most)
            text = text[..(char.IsHighSurrogate(text[most - 1]) ? most - 1 : most)] + "...";
        return string.Concat(text.Select(c => char.IsControl(c) ? ' ' : c));
    }

    /// <summary>The fault of an unpaired surrogate, as the end of a sentence.</summary>
    internal const string HalfCharacter = "holds half of a character (one \\ud8.. without the other): write whole characters";

    internal static ReadOnlySpan<byte> WithoutMark(ReadOnlySpan<byte> utf8) => utf8.StartsWith("\uFEFF"u8) ? utf8[3..] : utf8;

    internal static long LineOf(ReadOnlySpan<byte> utf8, long position) => utf8[..(int)position].Count((byte)'\n') + 1;

    // Number of valid bytes before the first invalid one.
    private static int ValidLength(ReadOnlySpan<byte> utf8)
    {
        var length = 0;
        while (Rune.DecodeFromUtf8(utf8[length..], out _, out var count) == System.Buffers.OperationStatus.Done)
            length += count;
        return length;
    }
}

/// <summary>Reads the lines of a text file as bytes, so that an invalid line does not affect the others.</summary>
internal static class StrictLines
{
    private const int MostBytes = 64 << 20;

    /// <summary>Reads the lines lazily.</summary>
    /// <param name="file">The text; not disposed.</param>
    /// <returns>The number of each line, from 1, and its bytes without line end and byte order mark.</returns>
    /// <exception cref="MalformedTextException">A line is longer than 64 MiB.</exception>
    public static IEnumerable<(int Number, ReadOnlyMemory<byte> Utf8)> Read(Stream file)
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
