namespace PyramidFlow.Sprites.Tests;

public class SpriteTurnTests
{
    private const int Frames = 49;

    [Fact]
    public void The_judge_sees_both_motions_in_every_drawn_turn()
    {
        for (var i = 0; i < 200; i++)
        {
            var turn = SpriteTurn.Evaluation(seed: 3, i);
            var clip = turn.Render(Frames);
            Assert.Equal(Frames * SpriteWorld.FrameBytes, clip.Length);
            var at = turn.Frame * SpriteWorld.FrameBytes;
            var before = SpriteJudge.Judge(clip.AsSpan(0, at), turn.Frame, SpriteWorld.Width, SpriteWorld.Height);
            var after = SpriteJudge.Judge(clip.AsSpan(at), Frames - turn.Frame, SpriteWorld.Width, SpriteWorld.Height);
            Assert.Equal((turn.Before, turn.After), (before.Attributes!.Value, after.Attributes!.Value));
        }
    }

    [Fact]
    public void A_sprite_that_goes_straight_on_has_not_turned()
    {
        for (var i = 0; i < 50; i++)
        {
            var turn = SpriteTurn.Evaluation(seed: 3, i);
            var clip = SpriteRenderer.Render(turn.Start, Frames);
            var after = SpriteJudge.Judge(clip.AsSpan(turn.Frame * SpriteWorld.FrameBytes), Frames - turn.Frame, SpriteWorld.Width, SpriteWorld.Height);
            Assert.NotEqual(turn.Then, after.Motion);
        }
    }

    [Fact]
    public void Turns_are_at_right_angles_and_repeat_with_their_seed()
    {
        SpriteMotion[] level = [SpriteMotion.Left, SpriteMotion.Right];
        var turns = Enumerable.Range(0, 100).Select(i => SpriteTurn.Evaluation(seed: 3, i)).ToList();
        Assert.All(turns, turn => Assert.NotEqual(level.Contains(turn.Before.Motion), level.Contains(turn.Then)));
        Assert.Equal(8, turns.Select(turn => (turn.Before.Motion, turn.Then)).Distinct().Count());
        Assert.Equal(turns, Enumerable.Range(0, 100).Select(i => SpriteTurn.Evaluation(seed: 3, i)));
        Assert.NotEqual(turns[0], SpriteTurn.Evaluation(seed: 4, 0));
    }

    [Fact]
    public void Some_training_clips_turn_where_a_unit_begins()
    {
        var turns = Enumerable.Range(0, 400).Select(i => SpriteTurn.Training(seed: 5, i, share: 0.25)).OfType<SpriteTurn>().ToList();
        Assert.InRange(turns.Count, 70, 130);
        Assert.Equal([9, 17, 25], turns.Select(turn => turn.Frame).Distinct().Order());
        Assert.DoesNotContain(turns, turn => SpriteWorld.IsHeldOut(turn.Before));
        Assert.Null(SpriteTurn.Training(seed: 5, 0, share: 0));
    }
}
