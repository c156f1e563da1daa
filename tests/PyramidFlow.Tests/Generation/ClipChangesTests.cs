using PyramidFlow.Generation;

namespace PyramidFlow.Tests.Generation;

/// <summary>A clip is changed while it is made: the units before a change stay as they were to the bit, and the noted settings make it again.</summary>
public sealed class ClipChangesTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>
{
    private const int Units = 6;
    private static readonly GenerationOptions Planned = TinyPipeline.Request with { Frames = 1 + ((Units - 1) * 8), Schedule = [new(3, "a dog"), new(4, "a bird")] };

    [Fact]
    public async Task Changes_at_random_units_leave_those_before_them_and_are_made_again_from_the_settings()
    {
        var (random, planned) = (new Random(22), await tiny.Frames(Planned));
        for (var trial = 0; trial < 12; trial++)
        {
            var (first, second) = (random.Next(1, Units - 1), random.Next(1, Units));
            ClipChange[] changes = second <= first ? [new(first, $"a fish {trial}")] : [new(first, $"a fish {trial}"), new(second, random.Next(2) == 0 ? null : "a horse")];
            var (changed, asMade) = await MakeAsync(Planned, changes);

            var before = (1 + ((first - 1) * 8)) * TinyPipeline.FrameBytes;
            Assert.Equal(planned[..before], changed[..before]);
            Assert.NotEqual(planned[before..changed.Length], changed[before..]);
            Assert.Equal(asMade.Frames * TinyPipeline.FrameBytes, changed.Length);

            // A last unit that others were to follow is computed with other last digits.
            if (changes[^1].Prompt is null)
                TinyPipeline.AssertSame(await tiny.Frames(asMade), changed);
            else
                Assert.Equal(await tiny.Frames(asMade), changed);
        }
    }

    [Fact]
    public async Task The_end_of_a_continued_video_comes_earlier_too()
    {
        var request = TinyPipeline.Request with { Video = TinyPipeline.Video(9), Frames = 24, NewFramesOnly = true };
        var (changed, asMade) = await MakeAsync(request, new ClipChange(2, "a fish"), new ClipChange(3, null));
        Assert.Equal((16, new PromptChange(Math.Round(8 / tiny.Pipeline.Settings.FramesPerSecond, 3), "a fish")), (asMade.Frames, Assert.Single(asMade.Schedule)));
        TinyPipeline.AssertSame(await tiny.Frames(asMade with { Video = request.Video, NewFramesOnly = true }), changed);
    }

    private async Task<(byte[] Frames, GenerationOptions AsMade)> MakeAsync(GenerationOptions request, params ClipChange[] changes)
    {
        var plan = tiny.Pipeline.Plan(request) with { Director = new KnownChanges(changes) };
        var frames = TinyPipeline.Bytes(await TinyPipeline.Collect(tiny.Pipeline.GenerateAsync(plan, cancellationToken: TestContext.Current.CancellationToken)));
        return (frames, ClipChanges.AsMade(plan.Clip, changes, tiny.Pipeline.Settings.FramesPerSecond));
    }
}
