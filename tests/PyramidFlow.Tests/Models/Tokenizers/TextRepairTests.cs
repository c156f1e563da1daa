using PyramidFlow.Testing;
using PyramidFlow.Models.Tokenizers;

namespace PyramidFlow.Tests.Models.Tokenizers;

/// <summary>Vectors of ftfy's documentation, and others worked out by its rules.</summary>
public class TextRepairTests
{
    [Theory]
    [InlineData("âœ” No problems", "✔ No problems")]
    [InlineData("(à¸‡'âŒ£')à¸‡", "(ง'⌣')ง")]
    [InlineData("The Mona Lisa doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t have eyebrows.", "The Mona Lisa doesn't have eyebrows.")]
    [InlineData("l’humanitÃ©", "l'humanité")]
    [InlineData("Ã\u00A0 perturber la rÃ©flexion", "à perturber la réflexion")]
    [InlineData("Ã perturber la rÃ©flexion", "à perturber la réflexion")]
    [InlineData("voilÃ le travail", "voilà le travail")]
    [InlineData("P&EACUTE;REZ", "PÉREZ")]
    [InlineData("L&AMP;AMP;ATILDE;&AMP;AMP;SUP3;PEZ", "LóPEZ")]
    [InlineData("&macr;\\_(ã\u0083\u0084)_/&macr;", "¯\\_(ツ)_/¯")]
    [InlineData("Broken text&hellip; it&#x2019;s ﬂubberiﬁc!", "Broken text… it's flubberific!")]
    [InlineData("ＬＯＵＤ　ＮＯＩＳＥＳ", "LOUD NOISES")]
    [InlineData("Ｕﾀｰﾝ", "Uターン")]
    [InlineData("ﬂuﬃeﬆ", "fluffiest")]
    [InlineData("\u201Chere\u2019s a test\u201D", "\"here's a test\"")]
    [InlineData("\u001B[36;44mI'm blue, da ba dee da ba doo...\u001B[0m", "I'm blue, da ba dee da ba doo...")]
    [InlineData("This string is made of two things:\u20291. Unicode\u20282. Spite", "This string is made of two things:\n1. Unicode\n2. Spite")]
    [InlineData("\uFEFFWhere do you want to go today?", "Where do you want to go today?")]
    [InlineData("BUNDESSTRA&SZLIG;E", "BUNDESSTRASSE")]
    [InlineData("&ntilde; &Ntilde; &NTILDE; &nTILDE;", "ñ Ñ Ñ &nTILDE;")]
    [InlineData("&Jscr;ohn &HilbertSpace;ancock", "𝒥ohn ℋancock")]
    public void The_examples_of_the_documentation_come_out_as_it_says(string text, string meant) =>
        Assert.Equal(meant, TextRepair.Repair(text));

    [Theory]
    [InlineData("")]
    [InlineData("A cat, sitting on a mat; 8K & HDR (100%) <b> ~ `x` \\ {y} | z\n\tnext")]
    [InlineData("IL Y MARQUÉ…")]
    [InlineData("Café naïve Ångström – 20 °C — ½ × 3² ≠ 5 €")]
    [InlineData("Ελλάδα, Россия, 日本のアニメ, 한국어, مرحبا, हिन्दी, żółć, ÅÄÖ")]
    [InlineData("👨\u200D👩\u200D👧 🇯🇵 ☕️")]
    [InlineData("AT&T, R&D; Q&A this&not that &amp &nosuch; &; &#; &#xzz; &#59;")]
    [InlineData("the soft\u00ADhyphen and no\u00A0break")]
    [InlineData("中文提示词、一只猫。")]
    public void Sound_text_is_left_alone(string text) => Assert.Equal(text, TextRepair.Repair(text));

    [Theory]
    [InlineData("‘a’ ‚b‛ „c‟ ʼd «e» ‹f› ′g″", "'a' 'b' \"c\" 'd «e» ‹f› ′g″")]
    [InlineData("Ĳ ĳ ŉ Ǆ ǅ ǆ Ǉ ǈ ǉ Ǌ ǋ ǌ Ǳ ǲ ǳ", "IJ ij 'n DŽ Dž dž LJ Lj lj NJ Nj nj DZ Dz dz")]
    [InlineData("ﬀ ﬁ ﬂ ﬃ ﬄ ﬅ ﬆ æ œ", "ff fi fl ffi ffl ſt st æ œ")]
    [InlineData("！～；＃＆ ｟｡｢･ｶﾞﾊﾟﾡￏ￦￫", "!~;#& ⦅。「・ガパ괴₩→")]
    [InlineData("a\r\nb\rc\nd\u0085e\u2028f", "a\nb\nc\nd…e\nf")]
    [InlineData("\u0093quoted\u0094 \u0081", "\"quoted\" \u0081")]
    [InlineData("a\u0000b\u0008\u000B\u000C\u001F\u007F\u206A\uFEFF\uFFF9\uFFFCc\td", "ab\u000Cc\td")]
    [InlineData("\u001B[1mbold\u001B[0m \u001B]x \u001B[12", "bold ]x [12")]
    [InlineData("e\u0301 A\u030A \u1100\u1161", "é Å 가")]
    public void Characters_of_no_use_in_a_prompt_are_replaced(string text, string meant) =>
        Assert.Equal(meant, TextRepair.Repair(text));

    [Fact]
    public void Half_surrogates_become_replacement_characters()
    {
        Assert.Equal("a\uFFFDb", TextRepair.Repair("a" + (char)0xD83D + "b"));
        Assert.Equal("\uFFFD\uFFFD", TextRepair.Repair("" + (char)0xDCA9 + (char)0xD83D));
        Assert.Equal("💩", TextRepair.Repair("" + (char)0xD83D + (char)0xDCA9));
    }

    [Theory]
    [InlineData("&lt;3 &amp;lt;3", "<3 <3")]
    [InlineData("a &amp; b\nc < d &amp; e\nf &amp; g", "a & b\nc < d &amp; e\nf &amp; g")]
    [InlineData("&lt;b&gt;\n&amp;", "<b>\n&")]
    [InlineData("&#65;&#x42;&#X0043; &#128; &#x81; &#0; &#xD800; &#x110000; &#99999999999999999999;", "ABC € \u0081 \uFFFD \uFFFD \uFFFD \uFFFD")]
    [InlineData("a&#1;b&#x7f;c&#xFDD0;d&#x1FFFE;e&#13;f", "abcde\nf")]
    [InlineData("&EACUTE; &Eacute; &eAcute; &HEARTS; &CHECKMARK; &COPYSR; &copysr; &FILIG;", "É É &eAcute; ♥ ✓ &COPYSR; ℗ FI")]
    [InlineData("&fjlig; &NotEqualTilde; &CounterClockwiseContourIntegral;", "fj ≂\u0338 &CounterClockwiseContourIntegral;")]
    [InlineData("&#65", "&#65")]
    public void Entities_are_read_unless_a_literal_bracket_stands_in_this_line_or_before(string text, string meant) =>
        Assert.Equal(meant, TextRepair.Repair(text));

    [Theory]
    [InlineData("ãƒ\u008Fãƒ³ãƒ‰", "ハンド")]
    [InlineData("ãƒ—ãƒ\u00ADãƒ³ãƒ—ãƒˆ", "プロンプト")]
    [InlineData("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет")]
    [InlineData("РџСЂРёРІРµС‚", "Привет")]
    [InlineData("caf√© na√Øve", "café naïve")]
    [InlineData("caf├⌐", "café")]
    [InlineData("Î•Î»Î»Î¬Î´Î±", "Ελλάδα")]
    [InlineData("ÃƒÂ©tÃƒÂ©", "été")]
    [InlineData("ðŸ˜€ and ðŸš€", "😀 and 🚀")]
    [InlineData("í\u00A0½í²©", "💩")]
    [InlineData("漢字 and cafÃ©", "漢字 and café")]
    [InlineData("â€œlike thisâ€\uFFFD", "\"like this\uFFFD")]
    [InlineData("donâ€™t", "don't")]
    [InlineData("Ã s vezes, Ã quele", "às vezes, àquele")]
    [InlineData("sÃ³\nsÃ³ and Ã§ ’\n“", "só\nsó and ç '\n\"")]
    public void Text_that_was_read_in_the_wrong_encoding_is_read_again(string text, string meant) =>
        Assert.Equal(meant, TextRepair.Repair(text));

    // Spaces between words, lower case and final sigma come after mending.
    [Theory]
    [InlineData("  A\u00A0Cat’s\tHAT\r\n", "a cat's hat")]
    [InlineData("中文 猫\u200D狗", "中文 猫\u200D狗")]
    [InlineData("ΟΔΟΣ \uE000 \uFFFD", "οδος \uE000 \uFFFD")]
    public void Clip_collapses_spaces_and_lowers_the_mended_text(string text, string clean) =>
        Assert.Equal(clean, ClipText.Clean(text));

    [Fact]
    public void Clip_cuts_words_as_a_pattern_that_ignores_case()
    {
        Assert.Equal(["it", "'s", "x", "'ſ", "b"], ClipText.Words(ClipText.Clean("It’S x'ſb"), []));
        Assert.Equal(["x", "y", "!!", "?"], ClipText.Words(ClipText.Clean("x\u0345y !!\u0345?"), []));
    }

    [Fact]
    public void A_curly_quote_gives_clip_the_ids_of_a_straight_one()
    {
        var tokenizer = ClipTokenizer.Load(Path.Combine(Goldens.Root, "tokenizer", "clip"));
        Assert.Equal(tokenizer.Encode("don't").Ids, tokenizer.Encode("don’t").Ids);
        Assert.Equal(tokenizer.Encode("salt & sand").Ids, tokenizer.Encode("ｓａｌｔ &amp; sand").Ids);
    }

    [Fact]
    public void T5_text_is_not_mended()
    {
        var tokenizer = T5Tokenizer.Load(Path.Combine(Goldens.Root, "tokenizer", "t5"));
        Assert.NotEqual(tokenizer.Encode("a &amp; b").Ids, tokenizer.Encode("a & b").Ids);
    }

    // Work is bounded by a count of rounds, so that such text is done at once or not at all.
    [Theory]
    [InlineData("&", "amp;")]
    [InlineData("", "Ã©")]
    [InlineData("", "ÃƒÂ©")]
    [InlineData("", "Ã©漢 â€œ")]
    [InlineData("漢", "Ã¡¡Ã©&am&amp;p;")]
    [InlineData("", "\u001B[1;2")]
    [InlineData("", "e\u0301\u0316")]
    public void A_hundred_kilobytes_made_to_be_slow_take_memory_in_proportion(string start, string unit)
    {
        var text = start + string.Concat(Enumerable.Repeat(unit, 100_000 / unit.Length));
        _ = TextRepair.Repair(text[..1000]);
        var before = GC.GetAllocatedBytesForCurrentThread();
        var repaired = TextRepair.Repair(text);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 200L << 20);
        Assert.InRange(repaired.Length, 1, text.Length);
    }

    [Fact]
    public void Entities_within_entities_are_read_until_the_limit_of_rounds()
    {
        Assert.Equal("&", TextRepair.Repair("&" + string.Concat(Enumerable.Repeat("amp;", 60))));
        var deep = TextRepair.Repair("&" + string.Concat(Enumerable.Repeat("amp;", 25_000)));
        Assert.StartsWith("&amp;amp;", deep);
    }

    [Fact]
    public void Any_text_is_mended_to_sound_text()
    {
        foreach (var text in RandomText.Many(seed: 3, count: 2000))
        {
            var repaired = TextRepair.Repair(text);
            Assert.Equal(repaired, string.Concat(repaired.EnumerateRunes()));
            Assert.Equal(repaired, UnicodeComposer.Compose(repaired));
        }
    }
}
