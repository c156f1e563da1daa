using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

public sealed class ExtensionTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>
{
    private const int Frame = TinyPipeline.FrameBytes;

    private static readonly GenerationOptions Further = TinyPipeline.Request with { Video = TinyPipeline.Video(17), Frames = 16 };

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
        var decoded = tiny.Pipeline.Decode(latents);
        using var scope = new TensorScope();
        using var fade = new JointFade(Pixels(Further.Video!.Value.ToArray(), 16), Pixels(decoded, 16));
        var (expected, actual) = (fade.Apply(Pixels(decoded, 17, 16)), Pixels(TinyPipeline.Bytes(chunks), 17, 16));
        // Bytes are rounded, and cut at the ends of their range, before one is compared and after the other.
        Assert.InRange((expected.Clamp(-1, 1) - actual).Abs().Mean().Item(), 0, 2 / 127.5);

        static Tensor Pixels(byte[] frames, int first, int count = 1) => FrameBytes.ToPixels(frames.AsSpan(first * Frame, count * Frame), TinyPipeline.Side, TinyPipeline.Side);
    }

    [Fact]
    public void What_the_vae_is_off_by_fades_and_outlines_of_the_last_given_frame_do_not_stay()
    {
        using var scope = new TensorScope();
        var outline = Tensor.From([.. Enumerable.Range(0, 64).Select(i => i % 2 == 0 ? 0.1f : -0.1f)], 1, 1, 1, 1, 64);
        var decoded = Tensor.Zeros([1, 3, 1, 64, 64]);
        using var fade = new JointFade(decoded + 0.2 + outline, decoded);
        var before = Tensor.Zeros([1, 3, 16, 64, 64]);
        var (near, far) = (fade.Apply(before), fade.Apply(before));
        Assert.Equal(0.2 * 24 / 25, near.Narrow(2, 0, 1).Max().Item(), 1e-5);
        Assert.Equal(0.2 * 24 / 25, near.Narrow(2, 0, 1).Min().Item(), 1e-5);
        Assert.Equal(0.2 * 8 / 25, far.Narrow(2, 0, 1).Mean().Item(), 1e-5);
        Assert.Equal(0, far.Narrow(2, 8, 8).Abs().Max().Item(), 1e-6);
        Assert.Same(before, fade.Apply(before));
    }

    [Fact]
    public async Task Given_latents_are_those_of_encoding_the_whole_whatever_the_window()
    {
        using var narrow = tiny.Load(new PipelineOptions { EncodeWindow = 8, DecodeWindow = 1 });
        var (whole, pieces) = (await tiny.Chunks(Further), await TinyPipeline.Collect(narrow.GenerateAsync(Further, cancellationToken: Cancel)));
        Assert.Equal([(0, 9), (9, 8), (17, 8), (25, 8)], pieces.Select(c => (c.FirstFrame, c.Count)));
        var (a, b) = (LatentClip.Join([.. whole.Select(c => c.Latents!)]), LatentClip.Join([.. pieces.Select(c => c.Latents!)]));
        foreach (var (x, y) in a.Values.ToArray().Zip(b.Values.ToArray()))
            Assert.Equal(x, y, 1e-3);
        TinyPipeline.AssertSame(TinyPipeline.Bytes(whole), TinyPipeline.Bytes(pieces));
    }

    [Fact]
    public void Impossible_pieces_and_tiles_are_refused_before_weights_are_read()
    {
        Refused(new PipelineOptions { EncodeWindow = 12 }, "encode_window", "frames=12 multiple=8");
        Refused(new PipelineOptions { DecodeWindow = 0 }, "decode_window", "latent_frames=0");
        Refused(new PipelineOptions { Tiles = new(60) }, "tile_size", "size=60 multiple=8");

        void Refused(PipelineOptions options, string code, string parameters) => FaultAssert.Has(Assert.Throws<RequestException>(() => tiny.Load(options)), code, parameters);
    }

    [Fact]
    public async Task Frames_that_do_not_fit_are_passed_through_and_the_last_ones_count()
    {
        var video = TinyPipeline.Video(30);
        var run = tiny.Pipeline.GenerateAsync(Further with { Video = video, Frames = 8 }, cancellationToken: Cancel);
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
        var run = tiny.Pipeline.GenerateAsync(request, cancellationToken: Cancel);
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
            await foreach (var chunk in tiny.Pipeline.GenerateAsync(Further with { HistoryWindow = 2 }, cancellationToken: cancel.Token))
                await cancel.CancelAsync();
        });
        Assert.Equal(before, Tensor.LiveCount);
    }
}
