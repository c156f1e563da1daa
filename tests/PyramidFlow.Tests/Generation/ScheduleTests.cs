using PyramidFlow.Generation;

namespace PyramidFlow.Tests.Generation;

public sealed class ScheduleTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>
{
    private static readonly GenerationOptions Story = TinyPipeline.Request with { Frames = 25, Schedule = [new(2.0, "a dog runs")] };

    [Fact]
    public async Task A_prompt_takes_over_at_the_unit_that_begins_nearest()
    {
        // 8 frames a second, units at frames 0, 1, 9 and 17.
        var chunks = await tiny.Chunks(Story);
        var plain = await tiny.Chunks(Story with { Schedule = [] });
        Assert.Equal(TinyPipeline.Bytes(plain.Take(3)), TinyPipeline.Bytes(chunks.Take(3)));
        Assert.NotEqual(plain[3].Rgb.ToArray(), chunks[3].Rgb.ToArray());
    }

    [Fact]
    public async Task The_same_prompt_again_changes_nothing() =>
        Assert.Equal(await tiny.Frames(Story with { Schedule = [] }), await tiny.Frames(Story with { Schedule = [new(1, "a cat"), new(2, "a cat")] }));

    [Fact]
    public async Task Seconds_count_from_the_first_new_frame_of_a_video_that_is_gone_on_from()
    {
        var further = TinyPipeline.Request with { Video = TinyPipeline.Video(9), Frames = 16, NewFramesOnly = true };
        var (plain, story) = (await tiny.Chunks(further), await tiny.Chunks(further with { Schedule = [new(1, "a dog runs")] }));
        Assert.Equal(plain[0].Rgb.ToArray(), story[0].Rgb.ToArray());
        Assert.NotEqual(plain[1].Rgb.ToArray(), story[1].Rgb.ToArray());
    }
}
