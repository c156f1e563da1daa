using PyramidFlow.Training.Data;

namespace PyramidFlow.Sprites.Tests;

public class SpriteJudgeTests
{

    [Theory]
    [InlineData(33)]
    [InlineData(57)]
    public void Ground_truth_is_judged_right_in_every_attribute(int frames)
    {
        var accuracy = Measure(seed: frames, clips: 500, frames, degraded: false);
        Assert.Equal(1, accuracy.All);
    }

    [Theory]
    [InlineData(500, 33)]
    [InlineData(200, 57)]
    public void Blurred_and_noisy_clips_are_judged_right(int clips, int frames)
    {
        var accuracy = Measure(seed: 100 + frames, clips, frames, degraded: true);
        Assert.Equal(1, accuracy.All);
    }

    [Fact]
    public void Pink_is_told_from_every_colour_and_background()
    {
        var accuracy = Measure(seed: 5, clips: 300, frames: 17, degraded: true, SpriteColour.Pink);
        Assert.Equal(1, accuracy.All);
    }

    [Theory]
    [InlineData(9)]
    [InlineData(17)]
    public void Short_clips_are_judged_right(int frames)
    {
        var accuracy = Measure(seed: frames, clips: 120, frames, degraded: true);
        Assert.Equal(1, accuracy.All);
    }

    [Fact]
    public void A_single_frame_gives_everything_but_motion()
    {
        for (var i = 0; i < 500; i++)
        {
            var scene = SpriteWorld.EvaluationScene(9, i);
            if (scene.Attributes.Motion == SpriteMotion.Growing)
                continue;
            var verdict = SpriteJudge.Judge(SpriteRenderer.Render(scene, 1), 1, 128, 128);
            Assert.Null(verdict.Motion);
            var found = (verdict.Size, verdict.Colour, verdict.Shape, verdict.Background);
            var (size, colour, shape, _, background) = scene.Attributes;
            Assert.Equal((size, colour, shape, background), found);
        }
    }

    [Fact]
    public void An_empty_clip_has_a_background_and_nothing_else()
    {
        var verdict = SpriteJudge.Judge(new byte[17 * SpriteWorld.FrameBytes], 17, 128, 128);
        Assert.Equal(new SpriteVerdict { Background = SpriteBackground.Black }, verdict);
    }

    [Fact]
    public void Noise_has_no_attributes()
    {
        var random = new KeyedRandom(1);
        var noise = new byte[9 * SpriteWorld.FrameBytes];
        for (var i = 0; i < noise.Length; i++)
            noise[i] = (byte)random.NextInt(256);
        Assert.Equal(new SpriteVerdict(), SpriteJudge.Judge(noise, 9, 128, 128));
    }

    [Fact]
    public void A_sprite_that_vanishes_early_is_not_counted()
    {
        var scene = SpriteWorld.EvaluationScene(0, 0);
        var clip = SpriteRenderer.Render(scene, 33);
        var corner = clip.AsSpan(0, 3).ToArray();
        for (var i = 12 * SpriteWorld.FrameBytes; i < clip.Length; i++)
            clip[i] = corner[i % 3];
        var verdict = SpriteJudge.Judge(clip, 33, 128, 128);
        Assert.Equal(12 / 33.0, verdict.Presence);
        Assert.Null(verdict.Colour);
        Assert.Null(verdict.Motion);
        Assert.Equal(scene.Attributes.Background, verdict.Background);
    }

    [Fact]
    public void The_wrong_number_of_bytes_is_named()
    {
        var error = Assert.Throws<ArgumentException>(() => SpriteJudge.Judge(new byte[100], 1, 128, 128));
        Assert.Contains("49152", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_clip_played_backwards_has_the_opposite_motion()
    {
        var scene = Enumerable.Range(0, 100).Select(i => SpriteWorld.EvaluationScene(4, i))
            .First(s => s.Attributes.Motion == SpriteMotion.Up);
        var frames = SpriteRenderer.Render(scene, 25).Chunk(SpriteWorld.FrameBytes)
            .Reverse().SelectMany(f => f).ToArray();
        Assert.Equal(SpriteMotion.Down, SpriteJudge.Judge(frames, 25, 128, 128).Motion);
    }

    private static SpriteAccuracy Measure(long seed, int clips, int frames, bool degraded, SpriteColour? colour = null)
    {
        var verdicts = new (SpriteAttributes Expected, SpriteVerdict Verdict)[clips];
        Parallel.For(0, clips, i =>
        {
            var scene = SpriteWorld.EvaluationScene(seed, i);
            if (colour is { } only)
                scene = new SpriteExtraColour(only, 1).Paint(scene, seed, i);
            var clip = SpriteRenderer.Render(scene, frames);
            if (degraded)
                clip = Degradation.BlurAndNoise(clip, seed: i);
            verdicts[i] = (scene.Attributes, SpriteJudge.Judge(clip, frames, 128, 128));
        });
        var accuracy = new SpriteAccuracy();
        foreach (var (expected, verdict) in verdicts)
        {
            accuracy.Add(expected, verdict);
            if (verdict.Attributes != expected)
                TestContext.Current.TestOutputHelper?.WriteLine($"{expected} judged as {verdict}");
        }

        return accuracy;
    }
}
