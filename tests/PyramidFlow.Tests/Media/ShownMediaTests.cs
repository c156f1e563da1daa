using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

/// <summary>Files are read as viewers show them: shape of pixels, transparency, HDR, raw streams, TIFF, JPEG without its end.</summary>
public sealed class ShownMediaTests : IDisposable
{
    // 256x256 as shown: a white disk of radius 60 on black.
    private const string Disk = "color=black:s=256x256:r=24:d=0.25,format=rgb24,geq=r='255*lt(hypot(X-128,Y-128),60)':g='255*lt(hypot(X-128,Y-128),60)':b='255*lt(hypot(X-128,Y-128),60)'";

    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(128, 256, "2/1", 256, 256)]
    [InlineData(256, 128, "1/2", 256, 256)]
    [InlineData(256, 256, "1/1", 256, 256)]
    [InlineData(180, 256, "64/45", 256, 256)]
    [InlineData(128, 256, "200/1", 128, 256)]
    public async Task A_video_of_pixels_that_are_not_square_has_the_shape_it_is_shown_in(int width, int height, string aspect, int shownWidth, int shownHeight)
    {
        await Ffmpeg("-f", "lavfi", "-i", Disk, "-vf", $"scale={width}:{height},setsar={aspect}:max=1000", "-pix_fmt", "yuv420p", folder.File("a.mp4"));

        var info = await VideoReader.ProbeAsync(folder.File("a.mp4"), Ct);
        var own = (await ReadFrames(folder.File("a.mp4")))[0];
        var covered = (await ReadFrames(folder.File("a.mp4"), new() { Width = 64, Height = 64 }))[0];

        Assert.Equal((shownWidth, shownHeight), (info.Width, info.Height));
        Assert.Equal((shownWidth, shownHeight), (own.Width, own.Height));
        if (shownWidth != shownHeight)
            return;
        Assert.InRange(Extent(own), (118, 118), (122, 122));
        Assert.InRange(Extent(covered), (28, 28), (32, 32));
    }

    [Fact]
    public async Task Of_a_turned_video_the_pixels_turn_too()
    {
        await Ffmpeg("-f", "lavfi", "-i", Disk, "-vf", "scale=128:256,setsar=2/1", "-pix_fmt", "yuv420p", folder.File("a.mp4"));
        RotatedVideo.Turn(folder.File("a.mp4"), 256);

        var frame = (await ReadFrames(folder.File("a.mp4"), new() { Width = 64, Height = 64 }))[0];

        Assert.InRange(Extent(frame), (28, 28), (32, 32));
    }

    [Theory]
    [InlineData("png")]
    [InlineData("jpg")]
    [InlineData("tiff")]
    public async Task A_picture_of_pixels_that_are_not_square_has_the_shape_it_is_shown_in(string extension)
    {
        var path = folder.File("a." + extension);
        await Ffmpeg("-f", "lavfi", "-i", Disk, "-vf", "scale=128:256,setsar=2/1", "-frames:v", "1", path);

        var own = await ImageReader.ReadAsync(path, cancellationToken: Ct);
        var covered = await ImageReader.ReadAsync(path, 64, 64, Ct);

        Assert.Equal(new PictureSize(256, 256), await ImageReader.MeasureAsync(path, Ct));
        Assert.Equal((256, 256), (own.Width, own.Height));
        Assert.InRange(Extent(own), (116, 116), (124, 124));
        Assert.InRange(Extent(covered), (28, 28), (32, 32));
    }

    [Fact]
    public async Task Resolutions_in_pixels_a_metre_and_the_byte_of_a_gif_tell_the_shape_too()
    {
        // Twice as many pixels across as down: each is half as wide as high.
        var png = PngWriter.Encode(Gradient(64, 32));
        using var file = new MemoryStream();
        file.Write(png.AsSpan(0, 33));
        PngChunk.Write(file, "pHYs"u8, [0, 0, 0x20, 0, 0, 0, 0x10, 0, 1]);
        file.Write(png.AsSpan(33));
        var gif = HostilePictures.Gif(1, 32);
        gif[12] = 49;                                                         // (49 + 15) / 64
        Assert.Equal((32L, 32L), PictureHeader.Read(gif)!.Shown);
        gif[12] = 113;

        Assert.Equal((64L, 64L), PictureHeader.Read(file.ToArray())!.Shown);
        Assert.Equal((64L, 32L), PictureHeader.Read(gif)!.Shown);
        var read = await ImageReader.ReadAsync(new MemoryStream(gif), "a", cancellationToken: Ct);
        Assert.Equal((64, 32), (read.Width, read.Height));
    }

    [Theory]
    [InlineData("a.mov", "png", "rgba")]
    [InlineData("a.mov", "qtrle", "argb")]
    [InlineData("a.mov", "prores_ks", "yuva444p10le")]
    [InlineData("a.webm", "libvpx-vp9", "yuva420p")]
    [InlineData("a.webm", "libvpx", "yuva420p")]
    public async Task Transparent_parts_of_a_video_become_white(string name, string codec, string pixels)
    {
        // Green lies hidden on the left.
        await Ffmpeg("-f", "lavfi", "-i", "color=lime:s=64x64:r=24:d=0.2,format=rgba,geq=r=0:g='if(lt(X,32),255,0)':b='if(lt(X,32),0,255)':a='255*gte(X,32)'",
            "-c:v", codec, "-pix_fmt", pixels, "-auto-alt-ref", "0", folder.File(name));

        var frames = await ReadFrames(folder.File(name));

        Assert.InRange(frames.Count, 4, 5);
        foreach (var frame in frames)
        {
            var (left, right) = (Pixel(frame, 8, 32), Pixel(frame, 56, 32));
            Assert.All(left, value => Assert.InRange(value, 250, 255));
            Assert.True(right is [< 12, < 12, > 240], $"right is {string.Join(' ', right)}");
        }
    }

    [Fact]
    public async Task Transparent_parts_of_hdr_are_white()
    {
        PngWriter.Write(folder.File("grey.png"), new RgbImage(64, 64, Enumerable.Repeat((byte)128, 64 * 64 * 3).ToArray()));
        await Ffmpeg("-i", folder.File("grey.png"), "-vf", "format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='if(lt(X,32),0,255)'", folder.File("clear.png"));
        var clear = await File.ReadAllBytesAsync(folder.File("clear.png"), Ct);
        var path = folder.File("hdr.png");
        await using (var file = File.Create(path))
        {
            file.Write(clear.AsSpan(0, 33));
            PngChunk.Write(file, "cICP"u8, [9, 16, 0, 1]);
            file.Write(clear.AsSpan(33));
        }

        foreach (var picture in new[] { await ImageReader.ReadAsync(path, cancellationToken: Ct), await ImageReader.ReadAsync(path, 32, 32, Ct) })
        {
            Assert.All(Pixel(picture, picture.Width / 8, 8), value => Assert.InRange(value, 250, 255));
            Assert.All(Pixel(picture, picture.Width * 7 / 8, 8), value => Assert.InRange(value, 150, 190));
        }

        var video = folder.File("hdr-clear.mkv");
        await Ffmpeg("-loop", "1", "-i", folder.File("clear.png"), "-frames:v", "2", "-vf", "format=yuva444p10le", "-c:v", "ffv1", "-color_trc", "smpte2084", "-color_primaries", "bt2020", "-colorspace", "bt2020nc", video);
        var frame = (await ReadFrames(video))[0];
        Assert.All(Pixel(frame, 8, 8), value => Assert.InRange(value, 250, 255));
        Assert.All(Pixel(frame, 56, 8), value => Assert.InRange(value, 0, 220));
    }

    [Theory]
    [InlineData("smpte2084", "203")]
    [InlineData("arib-std-b67", "203")]
    public async Task Hdr_is_brought_to_the_colours_of_a_usual_screen(string transfer, string white)
    {
        var path = await HdrAsync(transfer, white);

        foreach (var frame in new[] { (await ReadFrames(path))[0], (await ReadFrames(path, new() { Width = 64, Height = 64 }))[0] })
        {
            Assert.True(Pixel(frame, 8, 32) is [> 240, < 16, < 16], $"red is {string.Join(' ', Pixel(frame, 8, 32))}");
            Assert.All(Pixel(frame, 56, 32), value => Assert.InRange(value, 240, 255));
        }
    }

    [Fact]
    public async Task Hdr_is_refused_where_ffmpeg_cannot_convert_it()
    {
        var path = await HdrAsync("smpte2084", "203");
        var without = folder.WriteProgram("no-zscale", "echo \"[AVFilterGraph @ 0x55] No such filter: 'zscale'\" >&2\nexit 1\n");

        var error = await Assert.ThrowsAsync<MediaException>(() => VideoTail.ReadAsync(path, 1, cancellationToken: Ct, tools: new FfmpegTools(without, "ffprobe")));

        FaultAssert.Is(error, "hdr_unsupported", ("file", path), ("transfer", "PQ"));
    }

    [Fact]
    public async Task A_png_that_says_it_is_hdr_is_brought_to_the_colours_of_a_usual_screen()
    {
        // Mid grey of PQ is 92 nits: darker than the white of 203 nits, and nothing like the grey of a usual screen.
        var plain = PngWriter.Encode(new RgbImage(8, 8, Enumerable.Repeat((byte)128, 8 * 8 * 3).ToArray()));
        using var file = new MemoryStream();
        file.Write(plain.AsSpan(0, 33));
        PngChunk.Write(file, "cICP"u8, [9, 16, 0, 1]);
        file.Write(plain.AsSpan(33));

        var read = await ImageReader.ReadAsync(new MemoryStream(file.ToArray()), "a", cancellationToken: Ct);

        Assert.InRange(read.Pixels.Span[0], 160, 190);
    }

    [Theory]
    [InlineData("h264", "libx264")]
    [InlineData("hevc", "libx265")]
    public async Task A_raw_stream_gives_its_frames(string extension, string codec)
    {
        await WriteVideo(folder.File("a.mp4"), 24, 128, 96);
        var path = folder.File("raw." + extension);
        await Ffmpeg("-i", folder.File("a.mp4"), "-c:v", codec, "-r", "24", path);

        var info = await VideoReader.ProbeAsync(path, Ct);
        var stored = await ReadFrames(path);
        var resampled = await ReadFrames(path, new() { Fps = 12 });
        var late = await ReadFrames(path, new() { Fps = 24, Start = TimeSpan.FromSeconds(0.5) });
        var tail = await VideoTail.ReadAsync(path, 3, fps: 24, cancellationToken: Ct);

        Assert.Equal(24, info.FrameCount);
        Assert.InRange(info.Duration.TotalSeconds, 0.9, 1.1);
        Assert.Equal(24, stored.Count);
        Assert.InRange(resampled.Count, 11, 13);
        Assert.InRange(late.Count, 11, 13);
        Assert.Equal(3, tail.Count);
        Assert.InRange(Psnr(Gradient(128, 96, 23).Pixels, tail.Frame(2).Pixels), 25, 100);
    }

    [Theory]
    [InlineData("rgb24")]
    [InlineData("rgba")]
    [InlineData("gray")]
    [InlineData("rgb48le")]
    public async Task A_tiff_is_read(string pixels)
    {
        await Ffmpeg("-f", "lavfi", "-i", "color=0xA0A0A0:size=160x96", "-frames:v", "1", "-pix_fmt", pixels, folder.File("a.tiff"));

        var read = await ImageReader.ReadAsync(folder.File("a.tiff"), cancellationToken: Ct);

        Assert.Equal((160, 96), (read.Width, read.Height));
        Assert.Equal(new PictureSize(160, 96), await ImageReader.MeasureAsync(folder.File("a.tiff"), Ct));
        Assert.All(read.Pixels.ToArray(), value => Assert.InRange(value, 0xA0 - 2, 0xA0 + 2));
    }

    [Fact]
    public async Task A_jpeg_without_its_end_marker_is_read_and_told()
    {
        PngWriter.Write(folder.File("a.png"), Gradient(64, 48));
        await Ffmpeg("-i", folder.File("a.png"), "-q:v", "1", folder.File("a.jpg"));
        var whole = await File.ReadAllBytesAsync(folder.File("a.jpg"), Ct);
        Assert.Equal([0xFF, 0xD9], whole[^2..]);
        folder.Write("cut.jpg", whole[..^2]);
        folder.Write("half.jpg", whole[..(whole.Length / 2)]);

        var read = await ImageReader.ReadAsync(folder.File("cut.jpg"), cancellationToken: Ct);

        Assert.Equal((await ImageReader.ReadAsync(folder.File("a.jpg"), cancellationToken: Ct)).Pixels.ToArray(), read.Pixels.ToArray());
        Assert.Equal($"{folder.File("cut.jpg")} has no end marker: it was read all the same, but may be cut short", read.Warning);
        var error = await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File("half.jpg"), cancellationToken: Ct));
        FaultAssert.Is(error, "picture_damaged", ("file", folder.File("half.jpg")), ("reason", MediaFault.CutShort));
    }

    [Theory]
    [InlineData("""{"streams":[{"width":64,"height":2147483648}],"format":{}}""")]
    [InlineData("""{"streams":[{"width":0,"height":64}]}""")]
    [InlineData("""{"streams":[{"width":-64,"height":64}]}""")]
    [InlineData("""{"streams":[{"width":9223372036854775807,"height":64,"sample_aspect_ratio":"2:1"}]}""")]
    [InlineData("""{"streams":[]}""")]
    [InlineData("""{"streams":{}}""")]
    [InlineData("""{"streams":[7]}""")]
    [InlineData("[]")]
    [InlineData("{")]
    public void What_ffprobe_says_is_no_video_without_a_size_that_can_be(string json) => Assert.Null(VideoInfoReader.Read(json));

    [Fact]
    public void Impossible_numbers_of_a_stream_are_as_good_as_none()
    {
        var info = VideoInfoReader.Read("""
            {"streams":[{"width":64,"height":32,"avg_frame_rate":"1e308/1e-308","r_frame_rate":"0/0","nb_frames":"-4","duration":"1e400",
            "sample_aspect_ratio":"0:1","side_data_list":[{"rotation":1e300},3],"tags":[]}],"format":7}
            """)!;

        Assert.Equal((64, 32, 0.0, null, TimeSpan.Zero), (info.Width, info.Height, info.Fps, info.FrameCount, info.Duration));
    }

    // Left red, right white, of 203 nits.
    private async Task<string> HdrAsync(string transfer, string white)
    {
        var path = folder.File("hdr.mkv");
        await Ffmpeg("-f", "lavfi", "-i", "color=red:s=32x64:r=24:d=0.1", "-f", "lavfi", "-i", "color=white:s=32x64:r=24:d=0.1", "-filter_complex",
            $"[0][1]hstack,format=gbrp,zscale=pin=709:tin=709:min=gbr:rin=full:p=2020:t=linear:npl=203,format=gbrpf32le,zscale=p=2020:t={transfer}:m=2020_ncl:r=limited:npl={white},format=yuv444p10le",
            "-c:v", "ffv1", "-color_trc", transfer, "-color_primaries", "bt2020", "-colorspace", "bt2020nc", path);
        return path;
    }

    private static int[] Pixel(RgbImage image, int x, int y) =>
        [.. image.Pixels.Slice(((y * image.Width) + x) * 3, 3).ToArray().Select(value => (int)value)];

    // Width and height of what is bright.
    private static (int, int) Extent(RgbImage image)
    {
        var bright = Enumerable.Range(0, image.Width * image.Height).Where(i => image.Pixels.Span[i * 3] > 128).ToList();
        var (x, y) = (bright.Select(i => i % image.Width).ToList(), bright.Select(i => i / image.Width).ToList());
        return (x.Max() - x.Min() + 1, y.Max() - y.Min() + 1);
    }
}
