using System.Security.Cryptography;

namespace PyramidFlow.Sprites.Tests;

public class SpriteWorldTests
{
    [Fact]
    public void The_same_seed_draws_the_same_bytes_on_every_machine()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (var index = 0; index < 32; index++)
            hash.AppendData(SpriteRenderer.Render(SpriteWorld.Scene(seed: 7, index), 9));
        Assert.Equal("c1da2b7f8c7e306818ce2703bab83f4c39e2a678b3b13cdf12cd78c7cfaa179a",
            Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    [Fact]
    public void Seeds_indices_and_streams_give_different_scenes()
    {
        Assert.Equal(SpriteWorld.Scene(3, 5), SpriteWorld.Scene(3, 5));
        SpriteScene[] scenes =
        [
            SpriteWorld.Scene(3, 5), SpriteWorld.Scene(3, 6), SpriteWorld.Scene(4, 5),
            SpriteWorld.EvaluationScene(3, 5),
        ];
        Assert.Equal(4, scenes.DistinctBy(s => (s.StartX, s.StartY)).Count());
    }

    [Fact]
    public void Training_never_shows_the_held_out_combination_and_everything_else_often()
    {
        var scenes = Enumerable.Range(0, 20_000).Select(i => SpriteWorld.Scene(0, i).Attributes).ToArray();
        Assert.DoesNotContain(scenes, SpriteWorld.IsHeldOut);
        Assert.Equal(0, scenes.Count(s => s.Colour == SpriteColour.Pink));
        foreach (var colour in Enum.GetValues<SpriteColour>().Except([SpriteColour.Pink]))
            Assert.InRange(scenes.Count(s => s.Colour == colour), 2200, 2800);
        foreach (var motion in Enum.GetValues<SpriteMotion>())
            Assert.InRange(scenes.Count(s => s.Motion == motion), 2600, 3100);
    }

    [Fact]
    public void A_share_of_the_scenes_can_have_a_colour_that_no_other_scene_has()
    {
        var extra = new SpriteExtraColour(SpriteColour.Pink, 0.25);
        var pink = 0;
        for (var i = 0; i < 4000; i++)
        {
            var scene = SpriteWorld.Scene(3, i);
            var painted = extra.Paint(scene, 3, i);
            pink += painted == scene ? 0 : 1;
            Assert.True(painted == scene || painted == scene with { Attributes = scene.Attributes with { Colour = SpriteColour.Pink } });
        }

        Assert.InRange(pink, 900, 1100);
    }

    [Fact]
    public void Evaluation_visits_every_combination_once_a_round()
    {
        var seen = Enumerable.Range(0, SpriteAttributes.Combinations)
            .Select(i => SpriteWorld.EvaluationScene(1, i + SpriteAttributes.Combinations).Attributes).ToHashSet();
        Assert.Equal(SpriteAttributes.Combinations, seen.Count);
        Assert.Equal(7 * 6, seen.Count(SpriteWorld.IsHeldOut));
    }

    [Fact]
    public void A_sprite_is_never_clipped_and_never_touches_the_frames_edge()
    {
        for (var index = 0; index < 500; index++)
        {
            var scene = SpriteWorld.Scene(11, index);
            var clip = SpriteRenderer.Render(scene, 41);
            for (var t = 0; t < 41; t += 8)
            {
                var frame = clip.AsSpan(t * SpriteWorld.FrameBytes, SpriteWorld.FrameBytes);
                var (x0, y0, x1, y1) = Touched(frame, scene.Attributes.Background);
                Assert.True(x0 >= 1 && y0 >= 1 && x1 <= 126 && y1 <= 126, $"{scene} frame {t}: {x0},{y0} to {x1},{y1}");

                var (_, _, radius) = scene.At(t);
                var (left, top, right, bottom) = SpriteGeometry.Extent(scene.Attributes.Shape);
                Assert.InRange(x1 - x0 + 1, (left + right) * radius - 1.5, (left + right) * radius + 3);
                Assert.InRange(y1 - y0 + 1, (top + bottom) * radius - 2.5, (top + bottom) * radius + 3);
            }
        }
    }

    [Fact]
    public void Moving_sprites_have_thirty_pixels_of_way_and_then_rest()
    {
        for (var index = 0; index < 3000; index++)
        {
            var scene = SpriteWorld.Scene(2, index);
            var (start, late, later) = (scene.At(0), scene.At(60), scene.At(200));
            var way = Math.Abs(late.X - start.X) + Math.Abs(late.Y - start.Y);
            var moves = scene.Attributes.Motion <= SpriteMotion.Down;
            Assert.True(moves ? way >= SpriteWorld.LeastWay - 0.01f : way == 0, $"{scene}: {way}");
            Assert.Equal(late, later);
        }
    }

    [Theory]
    [InlineData(SpriteShape.Circle)]
    [InlineData(SpriteShape.Square)]
    [InlineData(SpriteShape.Triangle)]
    [InlineData(SpriteShape.Star)]
    public void Drawn_area_and_centroid_agree_with_the_formulas(SpriteShape shape)
    {
        double area = 0, x = 0, y = 0;
        for (var i = 0; i < 128 * 128; i++)
        {
            var (dy, dx) = (i / 128 - 63.5f, i % 128 - 63.5f);
            var a = SpriteGeometry.Coverage(shape, dx, dy, 30);
            (area, x, y) = (area + a, x + a * dx, y + a * dy);
        }

        Assert.InRange(area / (900 * SpriteGeometry.UnitArea(shape)), 0.99, 1.01);
        Assert.InRange(x / area, -0.05, 0.05);
        Assert.InRange(y / area, -0.1, 0.1);
    }

    [Fact]
    public void A_single_frame_equals_the_clips_frame()
    {
        var scene = SpriteWorld.Scene(5, 5);
        var frame = new byte[SpriteWorld.FrameBytes];
        SpriteRenderer.RenderFrame(scene, 6, frame);
        Assert.Equal(SpriteRenderer.Render(scene, 9)[(6 * SpriteWorld.FrameBytes)..(7 * SpriteWorld.FrameBytes)],
            frame);
    }

    private static (int X0, int Y0, int X1, int Y1) Touched(ReadOnlySpan<byte> frame, SpriteBackground background)
    {
        var (r, g, b) = SpritePalette.Rgb(background);
        var (x0, y0, x1, y1) = (128, 128, -1, -1);
        for (var i = 0; i < 128 * 128; i++)
        {
            if (frame[i * 3] == r && frame[i * 3 + 1] == g && frame[i * 3 + 2] == b)
                continue;
            var (y, x) = Math.DivRem(i, 128);
            (x0, y0, x1, y1) = (Math.Min(x0, x), Math.Min(y0, y), Math.Max(x1, x), Math.Max(y1, y));
        }

        return (x0, y0, x1, y1);
    }
}
