using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

public sealed class VideoWriterTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(8)]
    [InlineData(24)]
    [InlineData(29.97)]
    public async Task What_was_written_is_read_back(double fps)
    {
        var path = await WriteVideo(folder.File("a.mp4"), 20, options: new() { Fps = fps });

        var info = await VideoReader.ProbeAsync(path, Ct);
        var frames = await ReadFrames(path);

        Assert.Equal((96, 64, 20L, "h264", "yuv420p"), (info.Width, info.Height, info.FrameCount, info.Codec, info.PixelFormat));
        Assert.Equal(fps, info.Fps, 2);
        Assert.Equal(20 / fps, info.Duration.TotalSeconds, 2);
        Assert.Equal(20, frames.Count);
        for (var i = 0; i < frames.Count; i++)
            Assert.InRange(Psnr(Gradient(96, 64, i).Pixels, frames[i].Pixels), 35, 100);
        Assert.Equal([path], Directory.GetFiles(folder.Path));
    }

    [Fact]
    public async Task Saturated_colours_survive_the_colour_matrix()
    {
        var red = new byte[96 * 64 * 3];
        for (var i = 0; i < red.Length; i += 3)
            (red[i], red[i + 1], red[i + 2]) = (230, 20, 40);
        await using (var writer = VideoWriter.Create(folder.File("red.mp4"), 96, 64))
        {
            await writer.WriteFramesAsync(red, Ct);
            await writer.CompleteAsync(Ct);
        }

        var frame = Assert.Single(await ReadFrames(folder.File("red.mp4")));

        for (var channel = 0; channel < 3; channel++)
            Assert.InRange(frame.Pixels.Span[channel], red[channel] - 4, red[channel] + 4);
    }

    [Fact]
    public async Task Frames_may_come_in_any_number_at_once()
    {
        await using (var writer = VideoWriter.Create(folder.File("a.mp4"), 32, 16))
        {
            await writer.WriteFramesAsync(Noise(32 * 16 * 3 * 5), Ct);
            await writer.WriteFramesAsync(ReadOnlyMemory<byte>.Empty, Ct);
            await writer.WriteFramesAsync(Noise(32 * 16 * 3), Ct);
            await Assert.ThrowsAsync<ArgumentException>(() => writer.WriteFramesAsync(Noise(100), Ct));
            await writer.CompleteAsync(Ct);
            Assert.Equal(6, writer.FrameCount);
        }

        Assert.Equal(6, (await VideoReader.ProbeAsync(folder.File("a.mp4"), Ct)).FrameCount);
    }

    [Fact]
    public async Task The_index_stands_before_the_frames()
    {
        var bytes = await File.ReadAllBytesAsync(await WriteVideo(folder.File("a.mp4"), 4), Ct);

        Assert.InRange(bytes.AsSpan().IndexOf("moov"u8), 1, bytes.AsSpan().IndexOf("mdat"u8));
    }

    [Fact]
    public async Task Metadata_comes_back_unchanged()
    {
        var comment = Hostile + new string('é', 10_000);
        var path = await WriteVideo(folder.File("a.mp4"), 2, options: new()
        {
            Title = Hostile,
            Metadata = new Dictionary<string, string>
            {
                ["comment"] = comment,
                ["pyramidflow_seed"] = "18446744073709551615",
                ["pyramidflow_settings"] = """{"prompt":"a \"b\"","size":[640,384]}""",
                ["empty"] = "",
            },
        });

        var metadata = (await VideoReader.ProbeAsync(path, Ct)).Metadata;

        Assert.Equal(Hostile, metadata["title"]);
        Assert.Equal(comment, metadata["comment"]);
        Assert.Equal("18446744073709551615", metadata["pyramidflow_seed"]);
        Assert.Equal("""{"prompt":"a \"b\"","size":[640,384]}""", metadata["pyramidflow_settings"]);
        Assert.DoesNotContain("empty", metadata.Keys);
    }

    [Fact]
    public async Task A_gif_is_written_too_even_with_odd_sizes()
    {
        var path = await WriteVideo(folder.File("a.gif"), 5, 33, 17, new() { Fps = 10 });

        var frames = await ReadFrames(path);

        Assert.Equal(5, frames.Count);
        Assert.InRange(Psnr(Gradient(33, 17, 3).Pixels, frames[3].Pixels), 25, 100);
    }

    [Theory]
    [InlineData("a.mp4", 0, 384, "size_out_of_range", "size", "0x384")]
    [InlineData("a.mp4", 100_000, 100_000, "size_out_of_range", "size", "100000x100000")]
    [InlineData("a.avi", 64, 64, "unknown_format", "known", ".mp4 or .gif")]
    [InlineData("a.avi", 64, 64, "unknown_format", "extension", ".avi")]
    [InlineData("a", 64, 64, "unknown_format", "extension", "")]
    [InlineData("a", 64, 64, "unknown_format", "file", "a")]
    public void Impossible_requests_are_refused(string name, int width, int height, string code, string parameter, object value)
    {
        var error = Assert.Throws<MediaException>(() => VideoWriter.Create(folder.File(name), width, height));

        FaultAssert.Is(error, code, (parameter, value));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Theory]
    [InlineData(641, 384, "width", 641, 640, 642)]
    [InlineData(640, 1, "height", 1, 2, 2)]
    public void An_odd_size_is_refused_with_the_nearest_even_ones(int width, int height, string side, int value, int below, int above)
    {
        var error = Assert.Throws<MediaException>(() => VideoWriter.Create(folder.File("a.mp4"), width, height));

        FaultAssert.Is(error, "odd_size", ("side", side), ("value", value), ("below", below), ("above", above));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Theory]
    [InlineData(0, 17)]
    [InlineData(double.NaN, 17)]
    [InlineData(1000, 17)]
    [InlineData(24, 52)]
    [InlineData(24, -1)]
    public void Impossible_options_are_refused(double fps, int crf) =>
        Assert.Throws<MediaException>(() => VideoWriter.Create(folder.File("a.mp4"), 64, 64, new() { Fps = fps, Crf = crf }));

    [Theory]
    [InlineData("a=b", "x")]
    [InlineData("", "x")]
    [InlineData("key", "null\0inside")]
    public void Impossible_metadata_is_refused(string key, string value)
    {
        var options = new VideoWriterOptions { Metadata = new Dictionary<string, string> { [key] = value } };

        Assert.Throws<MediaException>(() => VideoWriter.Create(folder.File("a.mp4"), 64, 64, options));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public async Task Nothing_is_left_when_it_was_not_completed()
    {
        await using (var writer = VideoWriter.Create(folder.File("a.mp4"), 64, 64))
        {
            await writer.WriteFramesAsync(Noise(64 * 64 * 3 * 10), Ct);
            Assert.Single(Directory.GetFiles(folder.Path, ".a.partial-*.mp4"));
        }

        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public async Task Cancellation_leaves_the_older_file_alone()
    {
        File.WriteAllText(folder.File("a.mp4"), "older");
        using var cancel = new CancellationTokenSource();
        await using (var writer = VideoWriter.Create(folder.File("a.mp4"), 640, 384))
        {
            // Far more than the encoder can take before it is cancelled.
            var writing = writer.WriteFramesAsync(Noise(640 * 384 * 3 * 60), cancel.Token);
            await cancel.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => writing);
        }

        Assert.Equal("older", File.ReadAllText(folder.File("a.mp4")));
        Assert.Single(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public async Task An_older_file_is_replaced_when_the_new_one_is_whole()
    {
        File.WriteAllText(folder.File("a.mp4"), "older");

        await WriteVideo(folder.File("a.mp4"), 3);

        Assert.Equal(3, (await VideoReader.ProbeAsync(folder.File("a.mp4"), Ct)).FrameCount);
        Assert.Single(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public async Task A_video_without_frames_is_an_error()
    {
        await using (var writer = VideoWriter.Create(folder.File("a.mp4"), 64, 64))
            FaultAssert.Is(await Assert.ThrowsAsync<MediaException>(() => writer.CompleteAsync(Ct)), "no_frame_written", ("file", folder.File("a.mp4")));

        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public async Task A_failing_encoder_says_why_in_its_own_words()
    {
        var ffmpeg = await Program("#!/bin/sh\necho '[libx264 @ 0x55aa] broken today' >&2\nexit 3\n");
        await using (var writer = VideoWriter.Create(folder.File("a.mp4"), 64, 64, tools: FfmpegTools.From(ffmpeg)))
        {
            var error = await Assert.ThrowsAsync<MediaException>(async () =>
            {
                await writer.WriteFramesAsync(Noise(64 * 64 * 3 * 100), Ct);
                await writer.CompleteAsync(Ct);
            });
            FaultAssert.Is(error, "write_failed", ("file", folder.File("a.mp4")), ("reason", "broken today"));
        }

        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public async Task A_full_disk_is_named_even_when_the_encoder_ends_well()
    {
        var ffmpeg = await Program("#!/bin/sh\ncat >/dev/null\necho 'Error writing trailer of x: No space left on device' >&2\n");
        await using (var writer = VideoWriter.Create(folder.File("a.mp4"), 64, 64, tools: FfmpegTools.From(ffmpeg)))
        {
            await writer.WriteFramesAsync(Noise(64 * 64 * 3), Ct);
            var error = await Assert.ThrowsAsync<MediaException>(() => writer.CompleteAsync(Ct));
            FaultAssert.Is(error, "disk_full", ("folder", folder.Path));
        }

        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void A_folder_that_cannot_be_written_is_named()
    {
        File.WriteAllText(folder.File("taken"), "a file");

        var error = Assert.Throws<MediaException>(() => VideoWriter.Create(folder.Path + "/taken/a.mp4", 64, 64));

        FaultAssert.Is(error, "folder_unwritable", ("folder", $"{folder.Path}/taken"));
    }

    [Fact]
    public void A_folder_in_place_of_the_file_is_refused()
    {
        Directory.CreateDirectory(folder.File("a.mp4"));

        FaultAssert.Is(Assert.Throws<MediaException>(() => VideoWriter.Create(folder.File("a.mp4"), 64, 64)), "file_is_folder", ("file", folder.File("a.mp4")));
    }

    [Fact]
    public async Task Missing_folders_are_made() => Assert.True(File.Exists(await WriteVideo(folder.Path + "/new/deep/a.mp4", 1)));

    [Fact]
    public void A_missing_ffmpeg_says_what_to_install_and_leaves_nothing()
    {
        var tools = FfmpegTools.From("/nowhere/ffmpeg");

        var error = Assert.Throws<MediaException>(() => VideoWriter.Create(folder.File("a.mp4"), 64, 64, tools: tools));

        FaultAssert.Is(error, "program_missing", ("program", "ffmpeg"), ("path", "/nowhere/ffmpeg"));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Theory]
    [InlineData("-y.mp4")]
    [InlineData("concat:a|b.mp4")]
    [InlineData("http:x.mp4")]
    [InlineData("100%d 'q' \"r\" $(id) [1] ünï😀.mp4")]
    [InlineData("line\nbreak.mp4")]
    [InlineData(".mp4")]
    public async Task Hostile_names_are_only_names(string name)
    {
        var path = await WriteVideo(folder.File(name), 2);

        Assert.Equal(2, (await ReadFrames(path)).Count);
        Assert.Equal([path], Directory.GetFiles(folder.Path));
    }

    [Fact]
    public async Task The_longest_possible_name_works()
    {
        var path = await WriteVideo(folder.File(new string('ü', 125) + ".mp4"), 1);

        Assert.Equal([path], Directory.GetFiles(folder.Path));
    }

    // Written by another process: a program cannot be run while any process still has it open for writing.
    private async Task<string> Program(string script)
    {
        var path = folder.File("bin", "ffmpeg");
        await using var shell = FfmpegProcess.Start(
            "sh", ["-c", "printf '%s' \"$1\" > \"$2\" && chmod +x \"$2\"", "sh", script, path], Ct);
        await shell.WaitAsync("the script could not be written");
        return path;
    }
}
