using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

/// <summary>What a stranger's file may cost: memory, work, frames.</summary>
public sealed class HostileMediaTests : IDisposable
{
    private const int Mebibyte = 1 << 20;
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Texts_of_a_picture_are_not_unpacked_to_decode_it()
    {
        var png = HostilePictures.PngWithTexts(1, 600 * Mebibyte);

        // A decoder that sees the text needs more than that.
        var read = await ReadAsync(png, new DecodeLimits { MemoryBytes = 400 * Mebibyte });

        Assert.Equal(Gradient(8, 8).Pixels.ToArray(), read.Pixels.ToArray());
    }

    [Fact]
    public void Of_a_picture_only_what_its_first_frame_needs_goes_to_the_decoder()
    {
        var gif = HostilePictures.Gif(3000, 6000);
        var png = HostilePictures.PngWithTexts(1, Mebibyte);

        Assert.InRange(PictureTrim.FirstFrame(gif, PictureHeader.Read(gif)!).Length, 20, 60);
        Assert.True(PictureTrim.FirstFrame(png, PictureHeader.Read(png)!).Length < PngWriter.Encode(Gradient(8, 8)).Length);
    }

    [Fact]
    public async Task The_first_frame_of_a_gif_is_what_it_was_without_the_others()
    {
        var whole = HostilePictures.Gif(2, 50);

        var read = await ReadAsync(whole, new DecodeLimits());

        Assert.Equal((50, 50), (read.Width, read.Height));
        await File.WriteAllBytesAsync(folder.File("a.gif"), whole, Ct);
        Assert.Equal((await ReadFrames(folder.File("a.gif")))[0].Pixels.ToArray(), read.Pixels.ToArray());
    }

    [Fact]
    public async Task A_png_that_holds_more_pixels_than_its_size_is_refused()
    {
        var error = await Assert.ThrowsAsync<MediaException>(() => ReadAsync(HostilePictures.PngWithTooManyPixels(100 * Mebibyte), new DecodeLimits()));

        FaultAssert.Is(error, "picture_damaged", ("file", "the upload"), ("reason", MediaFault.TooMuchData));
    }

    [Theory]
    [InlineData(0xFFFFFFFF, 0xFFFFFFFE)]
    [InlineData(0xFFFFFFFF, 0xFFFFFFFF)]
    [InlineData(0x80000000, 2)]
    public async Task Sides_whose_product_overflows_are_too_large(uint width, uint height)
    {
        using var file = new MemoryStream();
        file.Write(PngChunk.Signature);
        byte[] Big(uint value) => [(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value];
        PngChunk.Write(file, "IHDR"u8, [.. Big(width), .. Big(height), 8, 2, 0, 0, 0]);
        PngChunk.Write(file, "IEND"u8, []);

        var error = await Assert.ThrowsAsync<MediaException>(() => ReadAsync(file.ToArray(), new DecodeLimits()));

        FaultAssert.Is(error, "too_many_pixels", ("file", "the upload"), ("size", $"{width}x{height}"), ("most_megapixels", 100));
    }

    [Fact]
    public async Task A_picture_that_takes_more_memory_than_allowed_is_refused_in_words()
    {
        PngWriter.Write(folder.File("a.png"), Gradient(64, 64));
        await Ffmpeg("-i", folder.File("a.png"), "-vf", "scale=8000:6000,format=rgba", folder.File("large.png"));

        var error = await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File("large.png"), 64, 64, Ct, Tools(new DecodeLimits { MemoryBytes = 300 * Mebibyte })));

        FaultAssert.Is(error, "decoder_out_of_memory", ("file", folder.File("large.png")), ("most_mib", 300L));
    }

    [Fact]
    public async Task A_decoder_that_works_and_gives_nothing_is_ended()
    {
        var busy = Program("while :; do :; done");
        // The size of the files pays for long, so that the step is what is too long.
        var limits = new DecodeLimits { Step = TimeSpan.FromSeconds(0.2), BytesPerSecond = 1 };
        var video = await WriteVideo(folder.File("a.mp4"), 2);

        var picture = await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(new MemoryStream(PngWriter.Encode(Gradient(8, 8))), "the upload", cancellationToken: Ct, tools: Tools(limits, busy)));
        var frames = await Assert.ThrowsAsync<MediaException>(() => VideoTail.ReadAsync(video, 1, cancellationToken: Ct, tools: Tools(limits, busy)));
        var probe = await Assert.ThrowsAsync<MediaException>(() => VideoReader.ProbeAsync(video, Ct, Tools(limits, "ffmpeg", busy)));

        foreach (var (error, name) in new[] { (picture, "the upload"), (frames, video), (probe, video) })
            FaultAssert.Is(error, "decoder_too_slow", ("file", name), ("seconds", 0.2));
    }

    [Fact]
    public async Task Frames_that_never_end_are_refused_when_the_work_is_more_than_the_file_pays_for()
    {
        var endless = Program("exec tr '\\0' 'a' < /dev/zero");
        var video = await WriteVideo(folder.File("a.mp4"), 2);
        var limits = new DecodeLimits { Step = TimeSpan.FromSeconds(0.4), BytesPerSecond = long.MaxValue };

        var error = await Assert.ThrowsAsync<MediaException>(async () =>
        {
            await foreach (var chunk in VideoReader.ReadAsync(video, cancellationToken: Ct, tools: Tools(limits, endless)))
                Assert.Equal(8, chunk.Count);
        });

        FaultAssert.Is(error, "decoding_too_long", ("file", video), ("bytes", new FileInfo(video).Length), ("seconds", 0.4), ("variable", "PYRAMIDFLOW_DECODER_SECONDS"));
    }

    [Fact]
    public void Seconds_of_work_from_the_environment_take_the_place_of_what_the_size_pays_for()
    {
        var limits = DecodeLimits.From(null, "600");
        void Use(double seconds, TimeSpan? most = null) => new DecodeBudget("a.mp4", limits, 1000, most).Check(TimeSpan.FromSeconds(seconds), TimeSpan.FromSeconds(seconds - 1));

        Use(599);
        FaultAssert.Is(Assert.Throws<MediaException>(() => Use(601)), "decoding_too_long", ("seconds", 600.0), ("variable", DecodeLimits.SecondsVariable));
        // What a service allows for what strangers send stays below it, and its message names nothing that they cannot set.
        var strangers = Assert.Throws<MediaException>(() => Use(61, TimeSpan.FromSeconds(60)));
        FaultAssert.Is(strangers, "decoding_too_long", ("seconds", 60.0), ("variable", null));
        Assert.DoesNotContain(DecodeLimits.SecondsVariable, strangers.Message, StringComparison.Ordinal);
        FaultAssert.Is(Assert.Throws<MediaException>(() => DecodeLimits.From(null, "long")), "bad_variable", ("variable", "PYRAMIDFLOW_DECODER_SECONDS"), ("value", "long"));
    }

    [Fact]
    public async Task A_late_part_of_a_raw_stream_that_takes_too_long_is_refused_with_the_way_to_find_it()
    {
        var raw = folder.File("a.m2v");
        await Ffmpeg("-i", await WriteVideo(folder.File("a.mp4"), 48), "-c:v", "mpeg2video", "-f", "mpeg2video", raw);
        var busy = Program("while :; do :; done");

        var error = await Assert.ThrowsAsync<MediaException>(async () =>
        {
            await foreach (var chunk in VideoReader.ReadAsync(raw, new() { Start = TimeSpan.FromSeconds(1) }, Ct, Tools(new DecodeLimits { Step = TimeSpan.FromSeconds(0.5), BytesPerSecond = 1 }, busy)))
                Assert.Equal(0, chunk.Count);
        });

        FaultAssert.Is(error, "raw_stream_too_slow", ("file", raw), ("seconds", 0.5));
    }

    [Theory]
    [InlineData(24, 1 << 20)]
    [InlineData(1, 64 << 20)]
    public void Texts_of_a_png_have_one_limit_together(int count, int bytes)
    {
        using var file = new MemoryStream(HostilePictures.PngWithTexts(count, bytes));
        var before = GC.GetAllocatedBytesForCurrentThread();

        Assert.Equal(MediaFault.TooMuchText(4 << 20), Assert.Throws<InvalidDataException>(() => PngText.Read(file)).Message);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 64 * Mebibyte);
    }

    [Fact]
    public void Many_small_texts_are_no_way_around_the_limit()
    {
        Assert.Equal(1000, PngText.Read(new MemoryStream(HostilePictures.PngWithManyTexts(1000))).Count);
        Assert.Throws<InvalidDataException>(() => PngText.Read(new MemoryStream(HostilePictures.PngWithManyTexts(100_000))));
        var gif = HostilePictures.Gif(1, 8);
        byte[] Comments(int count) => [.. gif[..^1], .. Enumerable.Repeat<byte[]>([0x21, 0xFE, 1, (byte)'x', 0], count).SelectMany(bytes => bytes), 0x3B];
        Assert.Single(GifComments.Read(new MemoryStream(Comments(1000))));
        Assert.Equal(MediaFault.TooMuchText(4 << 20), Assert.Throws<InvalidDataException>(() => GifComments.Read(new MemoryStream(Comments(100_000)))).Message);
    }

    [Fact]
    public void The_memory_of_a_decoder_is_read_from_the_environment()
    {
        Assert.Equal(640L << 20, DecodeLimits.From(null).MemoryBytes);
        Assert.Equal(2048L << 20, DecodeLimits.From("2048").MemoryBytes);
        FaultAssert.Is(Assert.Throws<MediaException>(() => DecodeLimits.From("2 GB")), "bad_variable", ("variable", "PYRAMIDFLOW_DECODER_MEMORY"), ("value", "2 GB"));
    }

    private static Task<RgbImage> ReadAsync(byte[] bytes, DecodeLimits limits) =>
        ImageReader.ReadAsync(new MemoryStream(bytes), "the upload", cancellationToken: Ct, tools: Tools(limits));

    private static FfmpegTools Tools(DecodeLimits limits, string ffmpeg = "ffmpeg", string ffprobe = "ffprobe") => new(ffmpeg, ffprobe) { Limits = limits };

    private string Program(string script) => folder.WriteProgram("program-" + Guid.NewGuid().ToString("N"), $"{script}\n");
}
