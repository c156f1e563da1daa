using PyramidFlow.Training.Data;

namespace PyramidFlow.Sprites.Tests;

public class SpriteCaptionsTests
{
    private static readonly SpriteAttributes RedCircle =
        new(SpriteSize.Small, SpriteColour.Red, SpriteShape.Circle, SpriteMotion.Right, SpriteBackground.Black);

    [Fact]
    public void The_canonical_caption_reads_as_documented() =>
        Assert.Equal("a small red circle moving right on a black background", SpriteCaptions.Canonical(RedCircle));

    [Fact]
    public void Every_combinations_captions_parse_back_and_keep_to_the_vocabulary()
    {
        var words = SpriteCaptions.Words.ToHashSet();
        var used = new HashSet<string>();
        var canonical = 0;
        for (var i = 0; i < 4 * SpriteAttributes.Combinations; i++)
        {
            var attributes = SpriteAttributes.FromNumber(i % SpriteAttributes.Combinations);
            var caption = SpriteCaptions.Caption(attributes, new KeyedRandom(1, 0, i));
            canonical += caption == SpriteCaptions.Canonical(attributes) ? 1 : 0;
            Assert.True(SpriteCaptions.TryParse(caption, out var parsed), caption);
            Assert.True(attributes == parsed, $"\"{caption}\" read as {parsed}");
            foreach (var word in caption.Replace(",", "", StringComparison.Ordinal).Split(' '))
                Assert.True(words.Contains(word), $"\"{word}\" of \"{caption}\" is not in the vocabulary");
            used.UnionWith(caption.Split(' '));
        }

        Assert.InRange(canonical, 0.47 * 4 * SpriteAttributes.Combinations, 0.56 * 4 * SpriteAttributes.Combinations);
        Assert.True(used.Count > 65, $"only {used.Count} words used");
    }

    [Fact]
    public void The_colour_that_is_taught_later_has_a_word_that_the_vocabulary_has_not()
    {
        var pink = RedCircle with { Colour = SpriteColour.Pink };
        Assert.Equal("a small pink circle moving right on a black background", SpriteCaptions.Canonical(pink));
        Assert.True(SpriteCaptions.TryParse(SpriteCaptions.Caption(pink, new KeyedRandom(3)), out var parsed));
        Assert.Equal(pink, parsed);
        Assert.DoesNotContain("pink", SpriteCaptions.Words);
    }

    [Fact]
    public void Words_are_distinct_lower_case_and_few()
    {
        Assert.Equal(SpriteCaptions.Words.Count, SpriteCaptions.Words.Distinct().Count());
        Assert.All(SpriteCaptions.Words, w => Assert.Matches("^[a-z]+$", w));
        Assert.InRange(SpriteCaptions.Words.Count, 60, 100);
    }

    [Theory]
    [InlineData("A tiny RED ball slides to the right, on a black backdrop.")]
    [InlineData("On the black background: one little red disc going right!")]
    public void Prompts_of_other_forms_are_understood(string prompt)
    {
        Assert.True(SpriteCaptions.TryParse(prompt, out var attributes));
        Assert.Equal(RedCircle, attributes);
    }

    [Theory]
    [InlineData("a red circle moving right on a black background")]
    [InlineData("a small red circle moving right")]
    [InlineData("a small red circle moving right and left on a black background")]
    [InlineData("a small red and blue circle moving right on a black background")]
    [InlineData("")]
    public void Prompts_that_leave_something_open_are_refused(string prompt) =>
        Assert.False(SpriteCaptions.TryParse(prompt, out _));
}
