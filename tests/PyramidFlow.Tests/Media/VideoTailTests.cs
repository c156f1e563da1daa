using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

public sealed class VideoTailTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(24, null)]
    [InlineData(24, 24.0)]
    [InlineData(24, 8.0)]
    [InlineData(30, 24.0)]
    [InlineData(29.97, 24.0)]
    [InlineData(24, 29.97)]
    [InlineData(12, 24.0)]
    public async Task The_tail_is_what_reading_everything_gives_last(double stored, double? fps)
    {
        // Long enough that the end is sought and not read up to.
        var path = await WriteVideo(folder.File("a.mp4"), 151, options: new() { Fps = stored });

        var all = await ReadFrames(path, new() { Width = 48, Height = 48, Fps = fps });
        var tail = await VideoTail.ReadAsync(path, 9, 48, 48, fps, Ct);

        Assert.Equal((9, 48, 48), (tail.Count, tail.Width, tail.Height));
        for (var i = 0; i < 9; i++)
            Assert.Equal(all[all.Count - 9 + i].Pixels.ToArray(), tail.Frame(i).Pixels.ToArray());
    }

    [Theory]
    [InlineData("mkv")]
    [InlineData("gif")]
    public async Task Other_containers_give_their_tail_too(string extension)
    {
        var path = await WriteVideo(folder.File("a.mp4"), 100, options: new() { Fps = 25 });
        await Ffmpeg("-i", path, folder.File("b." + extension));

        var all = await ReadFrames(folder.File("b." + extension));
        var tail = await VideoTail.ReadAsync(folder.File("b." + extension), 5, cancellationToken: Ct);

        Assert.Equal(all[^5].Pixels.ToArray(), tail.Frame(0).Pixels.ToArray());
        Assert.Equal(all[^1].Pixels.ToArray(), tail.Frame(4).Pixels.ToArray());
    }

    [Fact]
    public async Task A_short_video_gives_all_it_has()
    {
        var path = await WriteVideo(folder.File("a.mp4"), 5);

        var tail = await VideoTail.ReadAsync(path, 9, cancellationToken: Ct);

        Assert.Equal(5, tail.Count);
        Assert.InRange(Psnr(Gradient(96, 64, 4).Pixels, tail.Frame(4).Pixels), 35, 100);
    }

    [Fact]
    public async Task Sound_that_goes_on_after_the_picture_is_no_obstacle()
    {
        var path = await WriteVideo(folder.File("a.mp4"), 30);
        await Ffmpeg("-i", path, "-f", "lavfi", "-i", "sine=duration=20", "-c:v", "copy", folder.File("b.mkv"));

        var tail = await VideoTail.ReadAsync(folder.File("b.mkv"), 3, cancellationToken: Ct);

        Assert.Equal(3, tail.Count);
        Assert.InRange(Psnr(Gradient(96, 64, 29).Pixels, tail.Frame(2).Pixels), 35, 100);
    }

    [Fact]
    public async Task A_rotated_video_gives_an_upright_tail()
    {
        var path = await WriteVideo(folder.File("rotated.mp4"), 60);
        RotatedVideo.Turn(path, 64);

        var tail = await VideoTail.ReadAsync(path, 2, cancellationToken: Ct);

        Assert.Equal((2, 64, 96), (tail.Count, tail.Width, tail.Height));
    }

    [Theory]
    [InlineData(0, null, "no_frame_asked")]
    [InlineData(1, -1.0, "fps_out_of_range", "fps", -1.0)]
    [InlineData(int.MaxValue, null, "too_many_frames", "frames", int.MaxValue)]
    public async Task Impossible_requests_are_refused(int count, double? fps, string code, string? parameter = null, object? value = null)
    {
        var path = await WriteVideo(folder.File("a.mp4"), 1);

        var error = await Assert.ThrowsAsync<MediaException>(() => VideoTail.ReadAsync(path, count, fps: fps, cancellationToken: Ct));

        FaultAssert.Is(error, code, parameter is null ? [] : [(parameter, value)]);
    }

    [Fact]
    public async Task Sound_alone_is_refused()
    {
        await Ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", folder.File("sound.mp4"));

        FaultAssert.Is(await Assert.ThrowsAsync<MediaException>(() => VideoTail.ReadAsync(folder.File("sound.mp4"), 3, cancellationToken: Ct)), "video_without_picture", ("file", folder.File("sound.mp4")));
    }
}
