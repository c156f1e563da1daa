using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Torch.Tests.Formats;

public sealed class PlainNumberTests
{
    [Theory]
    [InlineData("7.5", 7.5)]
    [InlineData(" -2 ", -2)]
    [InlineData("1e-4", 1e-4)]
    [InlineData(".5", 0.5)]
    [InlineData("5.", 5)]
    public void Numbers_with_a_point_are_read(string text, double value)
    {
        Assert.True(PlainNumber.TryReal(text, out var read));
        Assert.Equal(value, read);
    }

    [Theory]
    [InlineData("7,5")]
    [InlineData("1,000")]
    [InlineData("1 000")]
    [InlineData("1_000")]
    [InlineData("1'000")]
    [InlineData("NaN")]
    [InlineData("Infinity")]
    [InlineData("1e999")]
    [InlineData("(5)")]
    [InlineData("$5")]
    [InlineData("0x10")]
    [InlineData("7\u00a0")]
    [InlineData("7\n")]
    [InlineData("7\0")]
    [InlineData("٣")]
    [InlineData("")]
    [InlineData(null)]
    public void What_is_no_plain_number_is_refused(string? text)
    {
        Assert.False(PlainNumber.TryReal(text, out _));
        Assert.False(PlainNumber.TryWhole(text, out _));
        Assert.False(PlainNumber.TryUnsigned(text, out _));
    }

    [Fact]
    public void Whole_numbers_may_be_written_with_a_point_and_zeros()
    {
        Assert.True(PlainNumber.TryWhole("-7.0", out var seven));
        Assert.Equal(-7, seven);
        Assert.False(PlainNumber.TryWhole("7.5", out _));
        Assert.False(PlainNumber.TryWhole("9223372036854775808", out _));
        Assert.True(PlainNumber.TryUnsigned("18446744073709551615", out var largest));
        Assert.Equal(ulong.MaxValue, largest);
        Assert.False(PlainNumber.TryUnsigned("-1", out _));
    }

    [Fact]
    public void A_comma_is_answered_with_the_number_to_write()
    {
        Assert.Contains("7.5", PlainNumber.Advice("7,5"));
        Assert.Empty(PlainNumber.Advice("7.5"));
        Assert.Empty(PlainNumber.Advice("1,1,1"));
    }
}
