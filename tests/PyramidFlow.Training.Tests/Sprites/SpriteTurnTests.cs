using PyramidFlow.Training.Sprites;

namespace PyramidFlow.Training.Tests.Sprites;

public class SpriteTurnTests
{
    [Fact]
    public void The_judge_sees_both_motions_in_every_drawn_turn()
    {
        for (var i = 0; i < 200; i++)
        {
            var turn = SpriteTurn.Of(seed: 3, i);
            var clip = turn.Render();
            Assert.Equal(SpriteTurn.Frames * SpriteWorld.FrameBytes, clip.Length);
            var at = SpriteTurn.Frame * SpriteWorld.FrameBytes;
            var before = SpriteJudge.Judge(clip.AsSpan(0, at), SpriteTurn.Frame, SpriteWorld.Width, SpriteWorld.Height);
            var after = SpriteJudge.Judge(clip.AsSpan(at), SpriteTurn.Frames - SpriteTurn.Frame, SpriteWorld.Width, SpriteWorld.Height);
            Assert.Equal((turn.Before, turn.After), (before.Attributes!.Value, after.Attributes!.Value));
        }
    }

    [Fact]
    public void A_sprite_that_goes_straight_on_has_not_turned()
    {
        for (var i = 0; i < 50; i++)
        {
            var turn = SpriteTurn.Of(seed: 3, i);
            var clip = SpriteRenderer.Render(turn.Start, SpriteTurn.Frames);
            var after = SpriteJudge.Judge(clip.AsSpan(SpriteTurn.Frame * SpriteWorld.FrameBytes), SpriteTurn.Frames - SpriteTurn.Frame, SpriteWorld.Width, SpriteWorld.Height);
            Assert.NotEqual(turn.Then, after.Motion);
        }
    }

    [Fact]
    public void Turns_are_at_right_angles_and_repeat_with_their_seed()
    {
        SpriteMotion[] level = [SpriteMotion.Left, SpriteMotion.Right];
        var turns = Enumerable.Range(0, 100).Select(i => SpriteTurn.Of(seed: 3, i)).ToList();
        Assert.All(turns, turn => Assert.NotEqual(level.Contains(turn.Before.Motion), level.Contains(turn.Then)));
        Assert.Equal(8, turns.Select(turn => (turn.Before.Motion, turn.Then)).Distinct().Count());
        Assert.Equal(turns, Enumerable.Range(0, 100).Select(i => SpriteTurn.Of(seed: 3, i)));
        Assert.NotEqual(turns[0], SpriteTurn.Of(seed: 4, 0));
    }
}
