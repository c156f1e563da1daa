using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Tests;

public sealed class SentBytesTests
{
    [Theory]
    [InlineData("abcdef", "abc|defg|hi", "ghi")]
    [InlineData("abcdef", "abcdef|g", "g")]
    [InlineData("", "ab|c", "abc")]
    [InlineData("abcdef", "abc", "")]
    public void What_was_sent_is_left_out_when_a_stream_begins_again(string before, string pieces, string expected)
    {
        using var sent = new SentBytes();
        Next(sent, before);
        for (var attempt = 0; attempt < 2; attempt++)
        {
            sent.BeginAgain();
            Assert.Equal(attempt == 0 ? expected : "", string.Concat(pieces.Split('|').Select(piece => Next(sent, piece))));
        }
    }

    [Fact]
    public void Other_bytes_end_the_stream_before_any_of_them_is_sent()
    {
        using var sent = new SentBytes();
        Next(sent, "abcdef");
        sent.BeginAgain();
        Assert.Equal("", Next(sent, "abd"));
        Assert.Throws<OperationCanceledException>(() => Next(sent, "defg"));
    }

    private static string Next(SentBytes sent, string bytes) => System.Text.Encoding.ASCII.GetString(sent.Next(System.Text.Encoding.ASCII.GetBytes(bytes)).Span);
}
