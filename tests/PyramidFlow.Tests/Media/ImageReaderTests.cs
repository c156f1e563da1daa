using System.Buffers.Binary;
using PyramidFlow.Media;
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

        var read = await ImageReader.ReadAsync(folder.File("a.png"), ct: Ct);

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

        var read = await ImageReader.ReadAsync(folder.File("misnamed.png"), ct: Ct);

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

        var clear = await ImageReader.ReadAsync(folder.File("clear.png"), ct: Ct);
        var half = await ImageReader.ReadAsync(folder.File("half.png"), ct: Ct);

        Assert.All(clear.Pixels.ToArray(), value => Assert.Equal(255, value));
        Assert.InRange(half.Pixels.Span[0], 252, 255);
        Assert.InRange(half.Pixels.Span[1], 124, 131);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(6)]
    [InlineData(8)]
    public async Task The_cameras_rotation_is_applied(ushort orientation)
    {
        // Top left quarter white, the rest black: shows where the corner went.
        var pixels = new byte[64 * 32 * 3];
        for (var i = 0; i < 64 * 32; i++)
            pixels.AsSpan(i * 3, 3).Fill(i % 64 < 32 && i / 64 < 16 ? (byte)255 : (byte)0);
        PngWriter.Write(folder.File("a.png"), new RgbImage(64, 32, pixels));
        await Ffmpeg("-i", folder.File("a.png"), "-q:v", "1", folder.File("a.jpg"));
        AddOrientation(folder.File("a.jpg"), orientation);

        var read = await ImageReader.ReadAsync(folder.File("a.jpg"), ct: Ct);

        Assert.Equal(orientation == 3 ? (64, 32) : (32, 64), (read.Width, read.Height));
        var (right, bottom) = orientation switch { 3 => (true, true), 6 => (true, false), _ => (false, true) };
        var x = right ? read.Width - 4 : 3;
        var y = bottom ? read.Height - 4 : 3;
        Assert.InRange(read.Pixels.Span[((y * read.Width) + x) * 3], 240, 255);
    }

    [Fact]
    public async Task A_text_file_named_jpg_is_refused()
    {
        folder.Write("a.jpg", "these are words, not a picture\n");

        var error = await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File("a.jpg"), ct: Ct));

        Assert.Contains("a.jpg is not a picture that ffmpeg can read", error.Message);
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

        var error = await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File($"cut.{extension}"), ct: Ct));

        Assert.Contains($"cut.{extension} is not a whole picture", error.Message);
    }

    [Theory]
    [InlineData(30_000, 20_000)]
    [InlineData(12_000, 10_000)]
    public async Task A_decompression_bomb_is_refused_before_it_is_decoded(int width, int height)
    {
        // A header is all there is: decoding it would fail in another way.
        var png = PngWriter.Encode(Gradient(8, 8));
        BinaryPrimitives.WriteInt32BigEndian(png.AsSpan(16), width);
        BinaryPrimitives.WriteInt32BigEndian(png.AsSpan(20), height);
        BinaryPrimitives.WriteUInt32BigEndian(png.AsSpan(29), Crc32(png.AsSpan(12, 17)));
        await File.WriteAllBytesAsync(folder.File("bomb.png"), png, Ct);

        var error = await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File("bomb.png"), ct: Ct));

        Assert.Equal(
            $"{folder.File("bomb.png")} is too large ({width}x{height} pixels): make it smaller than 100 megapixels", error.Message);
    }

    [Theory]
    [InlineData("-i.png")]
    [InlineData("http:x.png")]
    [InlineData("shot%03d.png")]
    [InlineData("a*?[b]{c}.png")]
    public async Task Hostile_names_are_only_names(string name)
    {
        PngWriter.Write(folder.File(name), Gradient(8, 8));

        Assert.Equal(8, (await ImageReader.ReadAsync(folder.File(name), ct: Ct)).Width);
    }

    [Fact]
    public async Task Missing_files_and_folders_are_named()
    {
        Assert.Contains("none.png does not exist",
            (await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File("none.png"), ct: Ct))).Message);
        Assert.Contains("it is a folder",
            (await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.Path, ct: Ct))).Message);
    }

    [Fact]
    public async Task One_size_without_the_other_is_refused() => Assert.Contains("width and height go together",
        (await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File("a.png"), 64, null, Ct))).Message);

    [Fact]
    public async Task Cancellation_is_told_as_such() => await Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
    {
        PngWriter.Write(folder.File("a.png"), Gradient(8, 8));
        return ImageReader.ReadAsync(folder.File("a.png"), ct: new CancellationToken(canceled: true));
    });

    // Exif in a JPEG: APP1 segment with a TIFF header and the one tag 0x0112.
    private static void AddOrientation(string path, ushort orientation)
    {
        var jpeg = File.ReadAllBytes(path);
        byte[] exif = [.. "Exif\0\0II*\0"u8, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, (byte)orientation, 0, 0, 0, 0, 0, 0, 0];
        File.WriteAllBytes(path, [.. jpeg[..2], 0xFF, 0xE1, 0, (byte)(exif.Length + 2), .. exif, .. jpeg[2..]]);
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
