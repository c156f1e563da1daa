using PyramidFlow.Media;
using PyramidFlow.Testing;
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
        var rotated = await WriteVideo(folder.File("rotated.mp4"), 3);
        RotatedVideo.Turn(rotated, 64);

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

        FaultAssert.Is(error, "video_damaged", ("file", folder.File("cut.mp4")));
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

        FaultAssert.Is(error, "not_a_video", ("file", folder.File(name)));
    }

    [Fact]
    public async Task A_missing_file_is_named() =>
        FaultAssert.Is(await Refused("none.mp4"), "file_missing", ("file", folder.File("none.mp4")));

    [Fact]
    public async Task A_start_behind_the_end_is_an_error()
    {
        var path = await WriteVideo(folder.File("a.mp4"), 24);

        var error = await Assert.ThrowsAsync<MediaException>(() => ReadFrames(path, new() { Start = TimeSpan.FromSeconds(5) }));

        FaultAssert.Is(error, "start_after_end", ("file", path), ("start", 5.0), ("duration", 1.0));
    }

    [Fact]
    public async Task Sound_alone_is_no_video()
    {
        await Ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", folder.File("sound.mp4"));

        FaultAssert.Is(await Assert.ThrowsAsync<MediaException>(() => VideoReader.ProbeAsync(folder.File("sound.mp4"), Ct)), "video_without_picture", ("file", folder.File("sound.mp4")));
    }

    [Fact]
    public async Task A_video_without_frames_is_told_as_such()
    {
        await Ffmpeg("-f", "lavfi", "-i", "color=red:size=16x16", "-t", "0", folder.File("none.mp4"));
        folder.Write("header.y4m", "YUV4MPEG2 W16 H16 F24:1 C420jpeg\n");
        folder.Write("empty.mp4", "");

        FaultAssert.Is(await Refused("none.mp4"), "video_without_picture", ("file", folder.File("none.mp4")));
        FaultAssert.Is(await Refused("header.y4m"), "no_frames", ("file", folder.File("header.y4m")));
        FaultAssert.Is(await Refused("empty.mp4"), "file_empty", ("file", folder.File("empty.mp4")));
    }

    [Fact]
    public async Task A_video_of_enormous_frames_is_refused_before_it_is_decoded()
    {
        folder.Write("huge.y4m", "YUV4MPEG2 W12000 H9000 F24:1 C420jpeg\nFRAME\n");

        FaultAssert.Is(await Refused("huge.y4m"), "too_many_pixels", ("file", folder.File("huge.y4m")), ("size", "12000x9000"), ("most_megapixels", 64));
    }

    [Fact]
    public async Task More_frames_at_once_than_fit_into_memory_are_refused()
    {
        var path = await WriteVideo(folder.File("a.mp4"), 1);

        var error = await Assert.ThrowsAsync<MediaException>(
            () => ReadFrames(path, new() { Width = 16384, Height = 16384, FramesPerChunk = 8 }));

        FaultAssert.Is(error, "too_many_frames", ("frames", 8), ("size", "16384x16384"));
    }

    [Fact]
    public async Task A_variable_rate_becomes_a_constant_one()
    {
        // Second 0 has all frames, second 1 every fourth: resampled, each of those stands until the next.
        var path = await WriteVideo(folder.File("a.mp4"), 48);
        await Ffmpeg("-i", path, "-vf", "select=lt(n\\,24)+not(mod(n\\,4))", "-vsync", "vfr", "-crf", "10", folder.File("sparse.mp4"));

        var stored = await ReadFrames(folder.File("sparse.mp4"));
        var constant = await ReadFrames(folder.File("sparse.mp4"), new() { Fps = 24 });

        Assert.Equal(30, stored.Count);
        Assert.InRange(constant.Count, 45, 48);
        for (var i = 0; i < constant.Count; i++)
            Assert.InRange(Psnr(Gradient(96, 64, i < 24 ? i : i - (i % 4)).Pixels, constant[i].Pixels), 33, 100);
    }

    [Fact]
    public async Task Odd_sizes_are_read_and_cut_to_shape_as_pictures_are()
    {
        await Ffmpeg("-f", "lavfi", "-i", "testsrc=size=101x57:rate=8:duration=0.5", "-c:v", "ffv1", "-pix_fmt", "gbrp", folder.File("a.mkv"));
        await Ffmpeg("-i", folder.File("a.mkv"), "-frames:v", "1", folder.File("a.png"));

        var frames = await ReadFrames(folder.File("a.mkv"));
        var covered = await ReadFrames(folder.File("a.mkv"), new() { Width = 64, Height = 48 });
        var picture = await ImageReader.ReadAsync(folder.File("a.png"), 64, 48, Ct);

        Assert.Equal((101, 57), (frames[0].Width, frames[0].Height));
        Assert.InRange(Psnr(picture.Pixels, covered[0].Pixels), 50, 200);
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

        FaultAssert.Is(error, "program_missing", ("program", "ffprobe"), ("path", "/nowhere/ffprobe"));
    }

    private async Task<MediaException> Refused(string name) =>
        await Assert.ThrowsAsync<MediaException>(() => ReadFrames(folder.File(name)));
}
