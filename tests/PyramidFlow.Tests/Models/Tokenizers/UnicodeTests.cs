using PyramidFlow.Models.Tokenizers;

namespace PyramidFlow.Tests.Models.Tokenizers;

public class UnicodeTests
{
    [Theory]
    [InlineData("e\u0301", "é")]
    [InlineData("\u1100\u1161\u11A8", "각")]
    [InlineData("각", "각")]
    [InlineData("\u212B", "Å")]
    [InlineData("a\u0323\u0302", "ậ")]
    [InlineData("a\u0302\u0323", "ậ")]
    [InlineData("\u0958", "\u0915\u093C")]
    [InlineData("a\u0315\u0300", "à\u0315")]
    [InlineData("a\u0301\u0300", "á\u0300")]
    [InlineData("\uD834\uDD5E", "\uD834\uDD57\uD834\uDD65")]
    [InlineData("plain", "plain")]
    public void Composes_to_form_C(string text, string expected) => Assert.Equal(expected, UnicodeComposer.Compose(text));

    [Theory]
    [InlineData("ABC", "abc")]
    [InlineData("İ", "i\u0307")]
    [InlineData("ΟΔΟΣ ΣΑΣ", "οδος σας")]
    [InlineData("Σ", "σ")]
    [InlineData("𐐀Σ", "𐐨ς")]
    [InlineData("ẞÅ", "ßå")]
    [InlineData("𐐀", "𐐨")]
    public void Lowers_case_in_full(string text, string expected) => Assert.Equal(expected, UnicodeCase.ToLower(text));
}
