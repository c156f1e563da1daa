using PyramidFlow.Generation;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Generation;

public sealed class SeveralClipsTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>
{
    private static readonly GenerationOptions Short = TinyPipeline.Request with { Frames = 9 };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Clip_number_i_is_what_seed_plus_i_gives_alone()
    {
        var chunks = await tiny.Chunks(Short with { Count = 3 });
        Assert.Equal([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)], chunks.Select(c => (c.Item, c.FirstFrame)));
        foreach (var clip in chunks.GroupBy(c => c.Item))
            Assert.Equal(await tiny.Frames(Short with { Seed = 7 + (ulong)clip.Key }), TinyPipeline.Bytes(clip));
    }

    [Fact]
    public async Task Several_prompts_give_what_each_gives_alone()
    {
        GenerationOptions[] requests = [.. new[] { "a cat", "a dog and a ball", "" }.Select(prompt => Short with
        {
            Prompt = prompt,
            NegativePrompt = "dark",
            Image = prompt.Length == 0 ? (ReadOnlyMemory<byte>?)TinyPipeline.Video(1) : null,
        })];
        var run = tiny.Pipeline.GenerateAsync(requests, cancellationToken: Cancel);
        Assert.Equal(["a cat, sharp", "a dog and a ball, sharp", ", sharp"], run.Items.Select(item => item.Prompt));
        var chunks = await TinyPipeline.Collect(run);
        foreach (var (i, request) in requests.Index())
            Assert.Equal(await tiny.Frames(request), TinyPipeline.Bytes(chunks.Where(c => c.Item == i)));
    }

    [Fact]
    public void Latents_of_several_clips_are_rows()
    {
        using var both = tiny.Pipeline.GenerateLatents(Short with { Count = 2 }, cancellationToken: Cancel);
        using var second = tiny.Pipeline.GenerateLatents(Short with { Seed = 8 }, cancellationToken: Cancel);
        Assert.Equal([2, 4, 2, 8, 8], both.Shape);
        Assert.Equal(second.ToArray<float>(), both.ToArray<float>()[(int)second.ElementCount..]);
        Assert.Equal(tiny.Pipeline.Decode(second), tiny.Pipeline.Decode(both)[(9 * TinyPipeline.FrameBytes)..]);
    }

    [Fact]
    public async Task Progress_runs_through_all_clips()
    {
        var all = new List<GenerationProgress>();
        await TinyPipeline.Collect(tiny.Pipeline.GenerateAsync(Short with { Count = 2 }, new Reports<GenerationProgress>(all.Add), Cancel));
        Assert.Equal(all.Select(p => p.Fraction).Order(), all.Select(p => p.Fraction));
        Assert.Equal(1, all[^1].Fraction, 12);
        Assert.Equal((0, 2), (all[0].Item, all[0].Items));
        Assert.Equal(0.5, all.First(p => p.Item == 1).Fraction, 12);
    }

    [Fact]
    public async Task Several_latent_frames_a_unit_stream_and_equal_what_is_decoded_at_once()
    {
        var request = TinyPipeline.Request with { Frames = 33, FramesPerUnit = 2, LinearGuidance = new(0.5, 2), Steps = [1, 2, 1] };
        var chunks = await tiny.Chunks(request);
        Assert.Equal([(0, 1), (1, 16), (17, 16)], chunks.Select(c => (c.FirstFrame, c.Count)));
        using var latents = tiny.Pipeline.GenerateLatents(request, cancellationToken: Cancel);
        TinyPipeline.AssertSame(tiny.Pipeline.Decode(latents), TinyPipeline.Bytes(chunks));
    }

    [Fact]
    public void All_requests_are_checked_before_the_first_is_begun()
    {
        var error = Assert.Throws<RequestException>(() => tiny.Pipeline.GenerateAsync([Short, Short with { Width = 100 }], cancellationToken: Cancel));
        FaultAssert.Is(error, "size_not_multiple", ("side", "width"), ("value", 100));
        FaultAssert.Is(Assert.Throws<RequestException>(() => tiny.Pipeline.GenerateAsync([], cancellationToken: Cancel)), "no_request");
    }
}
