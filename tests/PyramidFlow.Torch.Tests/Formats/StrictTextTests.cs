using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Torch.Tests.Formats;

public sealed class StrictTextTests
{
    [Fact]
    public void Text_is_decoded_without_its_byte_order_mark() =>
        Assert.Equal("café 😀", StrictText.Decode([0xEF, 0xBB, 0xBF, .. "café 😀"u8]));

    [Theory]
    [InlineData(new byte[] { (byte)'a', (byte)'\n', (byte)'b', (byte)'\n', 0xE9, (byte)'x' }, 3)]
    [InlineData(new byte[] { (byte)'a', (byte)'\n', 0xED, 0xA0, 0x80 }, 2)]
    [InlineData(new byte[] { 0xC0, 0xAF }, 1)]
    [InlineData(new byte[] { (byte)'a', 0xF0, 0x9F }, 1)]
    [InlineData(new byte[] { (byte)'a', (byte)'\n', 0 }, 2)]
    [InlineData(new byte[] { 0xFF, 0xFE, (byte)'a', 0 }, 1)]
    public void Bytes_that_are_no_UTF8_text_are_refused_with_their_line(byte[] bytes, long line) =>
        Assert.Equal(line, Assert.Throws<MalformedTextException>(() => StrictText.Decode(bytes)).Line);

    [Theory]
    [InlineData(new byte[] { 0xFF, 0xFE, (byte)'a', 0 })]
    [InlineData(new byte[] { 0xFE, 0xFF, 0, (byte)'a' })]
    public void UTF16_is_called_by_its_name(byte[] bytes) => Assert.Contains("UTF-16", Assert.Throws<MalformedTextException>(() => StrictText.Decode(bytes)).Reason);

    // Not as data of a theory: attributes keep texts as UTF-8, which has no halves.
    [Fact]
    public void Halves_of_characters_are_found()
    {
        foreach (var whole in (string[])["plain", "\ud83d\ude00", ""])
            Assert.True(StrictText.IsWhole(whole));
        foreach (var half in (string[])["a\ud83d", "\ude00a", "\ud83d\ud83d\ude00", "\ud83d\ude00\ude00", "\ud83da"])
            Assert.False(StrictText.IsWhole(half));
    }

    [Fact]
    public void What_an_error_shows_of_a_text_is_one_line_of_whole_characters()
    {
        Assert.Equal("a b c", StrictText.OneLine("a\nb\u001bc"));
        Assert.Equal(new string('x', 60), StrictText.OneLine(new string('x', 60)));
        Assert.Equal(new string('x', 59) + "...", StrictText.OneLine(new string('x', 59) + "😀 and more"));
    }

    [Fact]
    public void What_keeps_a_text_from_being_noted_is_told()
    {
        Assert.Null(StrictText.FindFault(null));
        Assert.Null(StrictText.FindFault("a red ball 😀"));
        Assert.Contains("null character", StrictText.FindFault("a\0"));
        Assert.Contains("half of a character", StrictText.FindFault("cut \ud83d"));
    }

    [Fact]
    public void A_file_longer_than_its_limit_is_not_read()
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, "0123456789");
            Assert.Equal("0123456789", StrictText.ReadFile(path, 10));
            Assert.Throws<MalformedTextException>(() => StrictText.ReadFile(path, 9));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Theory]
    [InlineData("", 0)]
    [InlineData("a\r\n\nb", 3)]
    [InlineData("a\n", 1)]
    public void Lines_are_numbered_and_end_as_files_do(string text, int count)
    {
        using var file = new MemoryStream(System.Text.Encoding.UTF8.GetBytes(text));
        var lines = StrictLines.Read(file).ToList();
        Assert.Equal(Enumerable.Range(1, count), lines.Select(line => line.Number));
        Assert.DoesNotContain(lines, line => line.Utf8.Span.Contains((byte)'\r'));
    }

    // The lines do not end where a buffer ends, and the last one has no end of its own.
    [Fact]
    public void Lines_of_a_text_of_many_buffers_come_as_they_are()
    {
        var lines = Enumerable.Range(0, 9000).Select(number => $"{number}: {new string((char)('a' + (number % 26)), number % 97)}").ToList();
        using var file = new MemoryStream([.. "\uFEFF"u8, .. System.Text.Encoding.UTF8.GetBytes(string.Join("\r\n", lines))]);
        Assert.Equal(lines, StrictLines.Read(file).Select(line => System.Text.Encoding.UTF8.GetString(line.Utf8.Span)));
    }

    [Fact]
    public void A_long_line_comes_whole()
    {
        using var file = new MemoryStream([.. Enumerable.Repeat((byte)'a', 200_000), (byte)'\n', (byte)'b']);
        Assert.Equal([200_000, 1], StrictLines.Read(file).Select(line => line.Utf8.Length));
    }
}
