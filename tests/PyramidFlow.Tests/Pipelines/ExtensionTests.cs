using PyramidFlow.Pipelines;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Pipelines;

public sealed class ExtensionTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>
{
    private const int Frame = TinyPipeline.FrameBytes;

    private static readonly GenerationRequest Further = TinyPipeline.Request with { Video = TinyPipeline.Video(17), Frames = 16 };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Given_frames_come_out_as_they_came_in_and_new_ones_follow()
    {
        var chunks = await tiny.Chunks(Further);
        Assert.Equal([(0, 17), (17, 8), (25, 8)], chunks.Select(c => (c.FirstFrame, c.Count)));
        Assert.Equal(Further.Video!.Value.ToArray(), TinyPipeline.Bytes(chunks)[..(17 * Frame)]);
        Assert.Equal(TinyPipeline.Bytes(chunks.Skip(1)), await tiny.Frames(Further with { NewFramesOnly = true }));
        Assert.NotEqual(TinyPipeline.Bytes(chunks.Skip(1)), await tiny.Frames(Further with { Video = TinyPipeline.Video(17, seed: 4), NewFramesOnly = true }));
    }

    [Fact]
    public async Task New_frames_are_decoded_as_the_given_ones_go_on()
    {
        var chunks = await tiny.Chunks(Further);
        var latents = LatentClip.Join([.. chunks.Select(c => c.Latents!)]);
        Assert.Equal(5, latents.Frames);
        TinyPipeline.AssertSame(tiny.Pipeline.Decode(latents)[(17 * Frame)..], TinyPipeline.Bytes(chunks.Skip(1)));
    }

    [Fact]
    public async Task Given_latents_are_those_of_encoding_the_whole_whatever_the_window()
    {
        using var narrow = tiny.Load(new PipelineOptions { EncodeWindow = 8, DecodeWindow = 1 });
        var (whole, pieces) = (await tiny.Chunks(Further), await TinyPipeline.Collect(narrow.GenerateAsync(Further, cancel: Cancel)));
        Assert.Equal([(0, 9), (9, 8), (17, 8), (25, 8)], pieces.Select(c => (c.FirstFrame, c.Count)));
        var (a, b) = (LatentClip.Join([.. whole.Select(c => c.Latents!)]), LatentClip.Join([.. pieces.Select(c => c.Latents!)]));
        foreach (var (x, y) in a.Values.ToArray().Zip(b.Values.ToArray()))
            Assert.Equal(x, y, 1e-3);
        TinyPipeline.AssertSame(TinyPipeline.Bytes(whole), TinyPipeline.Bytes(pieces));
    }

    [Fact]
    public async Task Frames_that_do_not_fit_are_passed_through_and_the_last_ones_count()
    {
        var video = TinyPipeline.Video(30);
        var run = tiny.Pipeline.GenerateAsync(Further with { Video = video, Frames = 8 }, cancel: Cancel);
        Assert.Equal(["of the 30 given frames the last 25 are gone on from, as they must be 1 more than a multiple of 8"], run.Warnings);
        var chunks = await TinyPipeline.Collect(run);
        Assert.Equal([(0, 5), (5, 25), (30, 8)], chunks.Select(c => (c.FirstFrame, c.Count)));
        Assert.Equal(video, TinyPipeline.Bytes(chunks)[..video.Length]);
        Assert.Null(chunks[0].Latents);
        Assert.Equal(38, run.Settings.Frames);
        var fitting = await tiny.Frames(Further with { Video = video[(5 * Frame)..], Frames = 8, NewFramesOnly = true });
        Assert.Equal(fitting, chunks[^1].Rgb.ToArray());
    }

    [Fact]
    public async Task One_frame_is_gone_on_from_like_a_picture()
    {
        var picture = TinyPipeline.Video(1);
        var chunks = await tiny.Chunks(Further with { Video = picture, Frames = 8 });
        Assert.Equal([1, 8], chunks.Select(c => c.Count));
        Assert.Equal(picture, chunks[0].Rgb.ToArray());
    }

    [Fact]
    public async Task Of_a_long_video_only_what_the_window_holds_is_encoded()
    {
        var video = TinyPipeline.Video(65);
        var request = Further with { Video = video, Frames = 8, HistoryWindow = 3 };
        var run = tiny.Pipeline.GenerateAsync(request, cancel: Cancel);
        Assert.Equal(3, run.Settings.Sampling.First);
        var chunks = await TinyPipeline.Collect(run);
        Assert.Equal([(0, 65 - 17), (65 - 17, 17), (65, 8)], chunks.Select(c => (c.FirstFrame, c.Count)));
        Assert.Equal(video, TinyPipeline.Bytes(chunks)[..video.Length]);
    }

    [Fact]
    public async Task Cancelling_leaves_no_tensor_behind()
    {
        var before = Tensor.LiveCount;
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (var chunk in tiny.Pipeline.GenerateAsync(Further with { HistoryWindow = 2 }, cancel: cancel.Token))
                await cancel.CancelAsync();
        });
        Assert.Equal(before, Tensor.LiveCount);
    }
}
