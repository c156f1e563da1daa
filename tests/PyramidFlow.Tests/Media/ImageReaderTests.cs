using System.Buffers.Binary;
using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

public sealed class ImageReaderTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_png_is_read_bit_for_bit()
    {
        var image = new RgbImage(61, 37, Noise(61 * 37 * 3));
        PngWriter.Write(folder.File("a.png"), image);

        var read = await ImageReader.ReadAsync(folder.File("a.png"), cancellationToken: Ct);

        Assert.Equal((61, 37), (read.Width, read.Height));
        Assert.Equal(image.Pixels.ToArray(), read.Pixels.ToArray());
    }

    [Theory]
    [InlineData("jpg")]
    [InlineData("webp")]
    [InlineData("bmp")]
    [InlineData("gif")]
    [InlineData("avif")]
    public async Task Other_formats_are_read_whatever_the_file_is_called(string extension)
    {
        var image = Gradient(96, 64);
        PngWriter.Write(folder.File("a.png"), image);
        await Ffmpeg("-i", folder.File("a.png"), folder.File($"b.{extension}"));
        File.Move(folder.File($"b.{extension}"), folder.File("misnamed.png"));

        var read = await ImageReader.ReadAsync(folder.File("misnamed.png"), cancellationToken: Ct);

        Assert.InRange(Psnr(image.Pixels, read.Pixels), 18, 200);
    }

    [Theory]
    [InlineData(640, 384, 64, 64)]
    [InlineData(64, 200, 96, 64)]
    [InlineData(2, 1000, 64, 48)]
    [InlineData(1, 1, 64, 48)]
    [InlineData(100, 60, 50, 30)]
    public async Task A_cover_crop_has_the_size_asked_for(int width, int height, int coverWidth, int coverHeight)
    {
        PngWriter.Write(folder.File("a.png"), Gradient(width, height));

        var read = await ImageReader.ReadAsync(folder.File("a.png"), coverWidth, coverHeight, Ct);

        Assert.Equal((coverWidth, coverHeight), (read.Width, read.Height));
    }

    [Fact]
    public async Task A_cover_crop_keeps_the_middle()
    {
        // Left and right quarter red, the middle half blue.
        var pixels = new byte[80 * 40 * 3];
        for (var i = 0; i < 80 * 40; i++)
            pixels[(i * 3) + (i % 80 is < 20 or >= 60 ? 0 : 2)] = 255;
        PngWriter.Write(folder.File("a.png"), new RgbImage(80, 40, pixels));

        var read = await ImageReader.ReadAsync(folder.File("a.png"), 20, 20, Ct);

        for (var i = 0; i < 20 * 20; i++)
            Assert.InRange(read.Pixels.Span[(i * 3) + 2], 250, 255);
    }

    [Fact]
    public async Task Transparent_parts_become_white()
    {
        await Ffmpeg("-f", "lavfi", "-i", "color=red@0:size=8x8,format=rgba", "-frames:v", "1", folder.File("clear.png"));
        await Ffmpeg("-f", "lavfi", "-i", "color=red@0.5:size=8x8,format=rgba", "-frames:v", "1", folder.File("half.png"));

        var clear = await ImageReader.ReadAsync(folder.File("clear.png"), cancellationToken: Ct);
        var half = await ImageReader.ReadAsync(folder.File("half.png"), cancellationToken: Ct);

        Assert.All(clear.Pixels.ToArray(), value => Assert.Equal(255, value));
        Assert.InRange(half.Pixels.Span[0], 252, 255);
        Assert.InRange(half.Pixels.Span[1], 124, 131);
    }

    [Fact]
    public async Task A_text_file_named_jpg_is_refused()
    {
        folder.Write("a.jpg", "these are words, not a picture\n");

        var error = await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File("a.jpg"), cancellationToken: Ct));

        FaultAssert.Is(error, "not_a_picture", ("file", folder.File("a.jpg")));
    }

    [Theory]
    [InlineData("jpg")]
    [InlineData("png")]
    [InlineData("webp")]
    public async Task A_truncated_picture_is_refused(string extension)
    {
        PngWriter.Write(folder.File("whole.png"), new RgbImage(96, 64, Noise(96 * 64 * 3)));
        await Ffmpeg("-i", folder.File("whole.png"), folder.File($"b.{extension}"));
        var bytes = await File.ReadAllBytesAsync(folder.File($"b.{extension}"), Ct);
        await File.WriteAllBytesAsync(folder.File($"cut.{extension}"), bytes[..(bytes.Length / 2)], Ct);

        var error = await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File($"cut.{extension}"), cancellationToken: Ct));

        FaultAssert.Is(error, "picture_damaged", ("file", folder.File($"cut.{extension}")));
    }

    [Theory]
    [InlineData(30_000, 20_000)]
    [InlineData(10_000, 10_000)]
    public async Task A_decompression_bomb_is_refused_before_it_is_decoded(int width, int height)
    {
        // A header is all there is: decoding it would fail in another way.
        var png = PngWriter.Encode(Gradient(8, 8));
        BinaryPrimitives.WriteInt32BigEndian(png.AsSpan(16), width);
        BinaryPrimitives.WriteInt32BigEndian(png.AsSpan(20), height);
        BinaryPrimitives.WriteUInt32BigEndian(png.AsSpan(29), Crc32(png.AsSpan(12, 17)));
        await File.WriteAllBytesAsync(folder.File("bomb.png"), png, Ct);

        var error = await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File("bomb.png"), cancellationToken: Ct));

        FaultAssert.Is(error, "too_many_pixels", ("file", folder.File("bomb.png")), ("size", $"{width}x{height}"), ("most_megapixels", 100));
    }

    [Theory]
    [InlineData("jpg")]
    [InlineData("webp")]
    [InlineData("gif")]
    public async Task Enormous_and_empty_sizes_are_read_from_the_header_of_every_kind(string extension)
    {
        PngWriter.Write(folder.File("a.png"), Gradient(16, 16));
        await Ffmpeg("-i", folder.File("a.png"), folder.File("b." + extension));
        var whole = await File.ReadAllBytesAsync(folder.File("b." + extension), Ct);

        FaultAssert.Is(await Resized(whole, extension, 16_000), "too_many_pixels", ("size", "16000x16000"), ("most_megapixels", 100));
        if (extension == "webp")
            return;                                                           // 0 is not among its sizes
        FaultAssert.Is(await Resized(whole, extension, 0), "picture_empty", ("size", "0x0"));
    }

    [Fact]
    public async Task An_empty_png_and_an_empty_file_are_told_as_such()
    {
        var png = PngWriter.Encode(Gradient(8, 8));
        png.AsSpan(16, 8).Clear();
        BinaryPrimitives.WriteUInt32BigEndian(png.AsSpan(29), Crc32(png.AsSpan(12, 17)));
        await File.WriteAllBytesAsync(folder.File("none.png"), png, Ct);
        folder.Write("empty.jpg", "");

        FaultAssert.Is(await Refused("none.png"), "picture_empty", ("file", folder.File("none.png")), ("size", "0x0"));
        FaultAssert.Is(await Refused("empty.jpg"), "file_empty", ("file", folder.File("empty.jpg")));
    }

    [Theory]
    [InlineData("-i.png")]
    [InlineData("http:x.png")]
    [InlineData("shot%03d.png")]
    [InlineData("a*?[b]{c}.png")]
    public async Task Hostile_names_are_only_names(string name)
    {
        PngWriter.Write(folder.File(name), Gradient(8, 8));

        Assert.Equal(8, (await ImageReader.ReadAsync(folder.File(name), cancellationToken: Ct)).Width);
    }

    [Fact]
    public async Task Missing_files_and_folders_are_named()
    {
        FaultAssert.Is(await Refused("none.png"), "file_missing", ("file", folder.File("none.png")));
        FaultAssert.Is(await Refused(""), "file_is_folder", ("file", folder.File("")));
    }

    [Fact]
    public async Task One_size_without_the_other_is_refused() => FaultAssert.Is(
        await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File("a.png"), 64, null, Ct)), "half_size");

    [Fact]
    public async Task Cancellation_is_told_as_such() => await Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
    {
        PngWriter.Write(folder.File("a.png"), Gradient(8, 8));
        return ImageReader.ReadAsync(folder.File("a.png"), cancellationToken: new CancellationToken(canceled: true));
    });

    private async Task<MediaException> Refused(string name) =>
        await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File(name), cancellationToken: Ct));

    private async Task<MediaException> Resized(byte[] whole, string extension, ushort size)
    {
        var bytes = whole.ToArray();
        var (high, low) = ((byte)(size >> 8), (byte)size);
        if (extension == "jpg")
        {
            var at = bytes.AsSpan().IndexOf((ReadOnlySpan<byte>)[0xFF, 0xC0]);
            ((ReadOnlySpan<byte>)[high, low, high, low]).CopyTo(bytes.AsSpan(at + 5));
        }
        else
        {
            // GIF keeps its size at byte 6, a lossy WebP in its frame's header.
            ((ReadOnlySpan<byte>)[low, high, low, high]).CopyTo(bytes.AsSpan(extension == "gif" ? 6 : 26));
        }

        await File.WriteAllBytesAsync(folder.File("resized." + extension), bytes, Ct);
        return await Refused("resized." + extension);
    }

    private static uint Crc32(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var b in bytes)
        {
            crc ^= b;
            for (var bit = 0; bit < 8; bit++)
                crc = (crc & 1) != 0 ? 0xEDB88320 ^ (crc >> 1) : crc >> 1;
        }

        return ~crc;
    }
}
