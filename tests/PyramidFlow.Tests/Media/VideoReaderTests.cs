using PyramidFlow.Media;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

public sealed class VideoReaderTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_range_is_read_exactly()
    {
        var path = await WriteVideo(folder.File("a.mp4"), 24, options: new() { Fps = 8 });

        var frames = await ReadFrames(path, new() { Start = TimeSpan.FromSeconds(1.5), MaxFrames = 5 });

        Assert.Equal(5, frames.Count);
        Assert.InRange(Psnr(Gradient(96, 64, 12).Pixels, frames[0].Pixels), 35, 100);
        Assert.InRange(Psnr(Gradient(96, 64, 16).Pixels, frames[4].Pixels), 35, 100);
    }

    [Fact]
    public async Task Frames_are_resampled_and_resized()
    {
        var path = await WriteVideo(folder.File("a.mp4"), 24, options: new() { Fps = 24 });

        var frames = await ReadFrames(path, new() { Fps = 8, Width = 48, Height = 48, FramesPerChunk = 3 });

        Assert.Equal(8, frames.Count);
        Assert.All(frames, frame => Assert.Equal((48, 48), (frame.Width, frame.Height)));
    }

    [Fact]
    public async Task Chunks_have_the_size_asked_for()
    {
        var path = await WriteVideo(folder.File("a.mp4"), 7);
        var counts = new List<int>();

        await foreach (var chunk in VideoReader.ReadAsync(path, new() { FramesPerChunk = 3 }, Ct))
            counts.Add(chunk.Count);

        Assert.Equal([3, 3, 1], counts);
    }

    [Fact]
    public async Task A_rotated_video_is_read_upright()
    {
        var path = await WriteVideo(folder.File("a.mp4"), 3);
        var rotated = folder.File("rotated.mp4");
        await Ffmpeg("-i", path, "-c", "copy", "-metadata:s:v:0", "rotate=90", rotated);

        var info = await VideoReader.ProbeAsync(rotated, Ct);
        var frames = await ReadFrames(rotated);

        Assert.Equal((64, 96), (info.Width, info.Height));
        Assert.Equal((64, 96), (frames[0].Width, frames[0].Height));
        // A quarter turn makes the change from left to right (red) one from top to bottom.
        var (top, bottom) = (frames[0].Pixels.Span[32 * 3], frames[0].Pixels.Span[((95 * 64) + 32) * 3]);
        Assert.InRange(Math.Abs(top - bottom), 100, 200);
    }

    [Fact]
    public async Task A_truncated_video_is_an_error_that_names_it()
    {
        await using (var writer = VideoWriter.Create(folder.File("a.mp4"), 64, 64))
        {
            await writer.WriteFramesAsync(Noise(64 * 64 * 3 * 24), Ct);
            await writer.CompleteAsync(Ct);
        }

        var bytes = await File.ReadAllBytesAsync(folder.File("a.mp4"), Ct);
        await File.WriteAllBytesAsync(folder.File("cut.mp4"), bytes[..(bytes.Length / 2)], Ct);

        var error = await Assert.ThrowsAsync<MediaException>(() => ReadFrames(folder.File("cut.mp4")));

        Assert.Contains("cut.mp4 is damaged", error.Message);
    }

    [Theory]
    [InlineData("playlist.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n")]
    [InlineData("script.mp4", "ffconcat version 1.0\nfile real.mp4\n")]
    [InlineData("text.mp4", "just words\n")]
    public async Task Files_that_only_look_like_videos_are_refused(string name, string text)
    {
        await WriteVideo(folder.File("real.mp4"), 2);
        folder.Write(name, text);

        var error = await Assert.ThrowsAsync<MediaException>(() => ReadFrames(folder.File(name)));

        Assert.Contains($"{name} is not a video that ffmpeg can read", error.Message);
    }

    [Fact]
    public async Task A_missing_file_is_named() => Assert.Contains("none.mp4 does not exist",
        (await Assert.ThrowsAsync<MediaException>(() => ReadFrames(folder.File("none.mp4")))).Message);

    [Fact]
    public async Task A_start_behind_the_end_is_an_error()
    {
        var path = await WriteVideo(folder.File("a.mp4"), 24);

        var error = await Assert.ThrowsAsync<MediaException>(() => ReadFrames(path, new() { Start = TimeSpan.FromSeconds(5) }));

        Assert.Contains("no frame from second 5 on: it is 1 s long", error.Message);
    }

    [Fact]
    public async Task Sound_alone_is_no_video()
    {
        await Ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", folder.File("sound.mp4"));

        Assert.Contains("it has no picture",
            (await Assert.ThrowsAsync<MediaException>(() => VideoReader.ProbeAsync(folder.File("sound.mp4"), Ct))).Message);
    }

    [Fact]
    public async Task Leaving_early_and_cancelling_stop_the_decoder()
    {
        var path = await WriteVideo(folder.File("a.mp4"), 60);
        await foreach (var chunk in VideoReader.ReadAsync(path, new() { FramesPerChunk = 1 }, Ct))
        {
            Assert.Equal(1, chunk.Count);
            break;
        }

        using var cancel = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (var chunk in VideoReader.ReadAsync(path, new() { FramesPerChunk = 1 }, cancel.Token))
                await cancel.CancelAsync();
        });
    }

    [Fact]
    public async Task A_missing_ffprobe_is_named()
    {
        var path = await WriteVideo(folder.File("a.mp4"), 1);

        var error = await Assert.ThrowsAsync<MediaException>(
            () => VideoReader.ProbeAsync(path, Ct, FfmpegTools.From("/nowhere/ffmpeg")));

        Assert.Contains("ffprobe was not found at /nowhere/ffprobe: install it with 'apt install ffmpeg'", error.Message);
    }
}
