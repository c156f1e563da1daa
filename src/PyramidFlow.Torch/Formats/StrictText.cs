using System.Text;
using System.Text.Unicode;

namespace PyramidFlow.Torch.Formats;

/// <summary>Text or JSON that is malformed. The message is a sentence without the file's name, which the reader of the file puts in front.</summary>
public sealed class MalformedTextException : FormatException
{
    /// <summary>Describes a fault.</summary>
    /// <param name="line">Line of the fault, from 1; 0 where the text has no lines that a person sees.</param>
    /// <param name="reason">What is wrong and what is right.</param>
    /// <param name="key">JSON key at which the fault stands; null where it stands at none.</param>
    /// <param name="inner">Cause.</param>
    public MalformedTextException(long line, string reason, string? key = null, Exception? inner = null)
        : base(line > 0 ? $"line {line}: {reason}" : reason, inner) => (Line, Reason, Key) = (line, reason, key);

    /// <summary>Line of the fault, from 1; 0 where the text has no lines that a person sees.</summary>
    public long Line { get; }

    /// <summary>Whether it is no JSON at all, so that the reader of the file says what is expected.</summary>
    public bool IsNoJson => InnerException is System.Text.Json.JsonException && Key is null;

    /// <summary>What is wrong and what is right, without the line.</summary>
    public string Reason { get; }

    /// <summary>JSON key at which the fault stands, such as <c>data.sizes</c>; null where it stands at none.</summary>
    public string? Key { get; }
}

/// <summary>Text from outside the program: UTF-8 whose every character is whole, or an error. Nothing is ever replaced by U+FFFD.</summary>
public static class StrictText
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Decodes UTF-8; a byte order mark is left out.</summary>
    /// <exception cref="MalformedTextException">The bytes are no UTF-8.</exception>
    public static string Decode(ReadOnlySpan<byte> utf8)
    {
        Check(utf8);
        return Strict.GetString(WithoutMark(utf8));
    }

    /// <summary>Fails unless the bytes are UTF-8 text without NUL.</summary>
    /// <exception cref="MalformedTextException">They are none; the message tells the line.</exception>
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
    /// <param name="maxBytes">Largest length that is read.</param>
    /// <exception cref="MalformedTextException">The file is longer, or is no UTF-8 text.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static string ReadFile(string path, long maxBytes = 64 << 20) => Decode(ReadBytes(path, maxBytes));

    /// <summary>Reads a whole file, unless it is longer than a limit. A file that grows meanwhile is cut at the limit.</summary>
    /// <param name="path">The file.</param>
    /// <param name="maxBytes">Largest length that is read, below 2 GiB.</param>
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

    /// <summary>Whether a text has no half of a surrogate pair.</summary>
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

    /// <summary>What keeps a text from being noted and encoded as it is, as the end of a sentence; null where nothing does.</summary>
    /// <param name="text">The text; null is fine.</param>
    public static string? FaultOf(string? text) => text is null ? null
        : text.Contains('\0', StringComparison.Ordinal) ? "contains a null character: remove it"
        : IsWhole(text) ? null
        : HalfCharacter;

    /// <summary>The beginning of a text for an error: on one line, without what a terminal would obey and without half of a character at its end.</summary>
    /// <param name="text">The text.</param>
    /// <param name="most">Characters that are shown; three dots stand for the rest.</param>
    public static string OneLine(string text, int most = 60)
    {
        if (text.Length > most)
            text = text[..(char.IsHighSurrogate(text[most - 1]) ? most - 1 : most)] + "...";
        return string.Concat(text.Select(c => char.IsControl(c) ? ' ' : c));
    }

    /// <summary>What is wrong with half of a surrogate pair, as the end of a sentence.</summary>
    internal const string HalfCharacter = "holds half of a character (one \\ud8.. without the other): write whole characters";

    internal static ReadOnlySpan<byte> WithoutMark(ReadOnlySpan<byte> utf8) => utf8.StartsWith("\uFEFF"u8) ? utf8[3..] : utf8;

    internal static long LineOf(ReadOnlySpan<byte> utf8, long position) => utf8[..(int)position].Count((byte)'\n') + 1;

    // How many bytes stand before the first that is no UTF-8.
    private static int ValidLength(ReadOnlySpan<byte> utf8)
    {
        var length = 0;
        while (Rune.DecodeFromUtf8(utf8[length..], out _, out var count) == System.Buffers.OperationStatus.Done)
            length += count;
        return length;
    }
}

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
