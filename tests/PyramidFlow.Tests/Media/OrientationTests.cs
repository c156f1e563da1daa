using System.Buffers.Binary;
using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

public sealed class OrientationTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public static TheoryData<string, ushort> Cases =>
        [.. from kind in new[] { "jpg", "png", "webp" } from o in Enumerable.Range(1, 8) select (kind, (ushort)o)];

    public void Dispose() => folder.Dispose();

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task The_cameras_rotation_is_applied(string kind, ushort orientation)
    {
        // Where the stored picture's top left and top right corners belong (EXIF 2.3, tag 274).
        var (first, second) = orientation switch
        {
            1 => ((0, 0), (1, 0)),
            2 => ((1, 0), (0, 0)),
            3 => ((1, 1), (0, 1)),
            4 => ((0, 1), (1, 1)),
            5 => ((0, 0), (0, 1)),
            6 => ((1, 0), (1, 1)),
            7 => ((1, 1), (1, 0)),
            _ => ((0, 1), (0, 0)),
        };
        var path = await Stored(kind, Exif(orientation, little: orientation % 2 == 0));

        var read = await ImageReader.ReadAsync(path, cancellationToken: Ct);

        Assert.Equal(orientation < 5 ? (64, 32) : (32, 64), (read.Width, read.Height));
        Assert.Equal(("red", "green"), (Colour(read, first), Colour(read, second)));
        Assert.Equal(new PictureSize(read.Width, read.Height), await ImageReader.MeasureAsync(path, Ct));
    }

    [Fact]
    public async Task A_turned_picture_is_cut_to_shape_after_it_was_turned()
    {
        var path = await Stored("png", Exif(6, little: true));

        var read = await ImageReader.ReadAsync(path, 16, 32, Ct);

        Assert.Equal(("red", "green"), (Colour(read, (1, 0)), Colour(read, (1, 1))));
    }

    [Theory]
    [InlineData("jpg")]
    [InlineData("png")]
    [InlineData("webp")]
    public async Task A_broken_note_about_rotation_leaves_the_picture_as_it_is(string kind)
    {
        var whole = Exif(6, little: true);
        byte[] far = [.. whole[..4], 0xF0, 0xFF, 0xFF, 0xFF, .. whole[8..]];
        foreach (var exif in (byte[][])[[], whole[..9], whole[..15], far, Exif(0, little: true), Exif(9, little: false), Noise(40)])
            Assert.Equal("red", Colour(await ImageReader.ReadAsync(await Stored(kind, exif), cancellationToken: Ct), (0, 0)));
    }

    [Fact]
    public void Any_cut_or_broken_byte_of_the_note_gives_an_orientation()
    {
        foreach (var little in (bool[])[false, true])
        {
            var whole = Exif(6, little);
            Assert.Equal(6, ExifOrientation.Read(whole));
            Assert.Equal(6, ExifOrientation.Read([.. "Exif\0\0"u8, .. whole]));
            for (var i = 0; i < whole.Length; i++)
            {
                var broken = whole.ToArray();
                broken[i] ^= 0xFF;
                Assert.InRange(ExifOrientation.Read(broken), 1, 8);
                Assert.InRange(ExifOrientation.Read(whole.AsSpan(0, i)), 1, 8);
            }
        }
    }

    private static string Colour(RgbImage image, (int X, int Y) corner)
    {
        var x = corner.X == 0 ? 3 : image.Width - 4;
        var y = corner.Y == 0 ? 3 : image.Height - 4;
        var pixel = image.Pixels.Span.Slice(((y * image.Width) + x) * 3, 3);
        return (pixel[0] > 128, pixel[1] > 128) switch { (true, false) => "red", (false, true) => "green", _ => "black" };
    }

    // Top left quarter red, top right quarter green, the rest black.
    private async Task<string> Stored(string kind, byte[] exif)
    {
        if (!File.Exists(folder.File("plain." + kind)))
        {
            var pixels = new byte[64 * 32 * 3];
            for (var i = 0; i < 64 * 16; i++)
                pixels[(i * 3) + (i % 64 < 32 ? 0 : 1)] = 255;
            PngWriter.Write(folder.File("a.png"), new RgbImage(64, 32, pixels));
            await Ffmpeg("-i", folder.File("a.png"), "-q:v", kind == "jpg" ? "1" : "95", folder.File("plain." + kind));
        }

        var path = folder.File("stored." + kind);
        var bytes = await File.ReadAllBytesAsync(folder.File("plain." + kind), Ct);
        await File.WriteAllBytesAsync(path, kind switch
        {
            "jpg" => [.. bytes[..2], 0xFF, 0xE1, 0, (byte)(exif.Length + 8), .. "Exif\0\0"u8, .. exif, .. bytes[2..]],
            "png" => [.. bytes[..^12], .. PngExif(exif), .. bytes[^12..]],
            _ => ExtendedWebP(bytes, exif),
        }, Ct);
        return path;
    }

    // A TIFF header and a directory with a width before the orientation.
    private static byte[] Exif(ushort orientation, bool little)
    {
        byte[] entry(ushort tag, ushort value) => [.. U16(tag), .. U16(3), .. U32(1), .. U16(value), 0, 0];
        byte[] U16(ushort value) => little ? [(byte)value, (byte)(value >> 8)] : [(byte)(value >> 8), (byte)value];
        byte[] U32(uint value) => little ? [.. U16((ushort)value), 0, 0] : [0, 0, .. U16((ushort)value)];
        return [.. little ? "II"u8 : "MM"u8, .. U16(42), .. U32(8), .. U16(2), .. entry(256, 64), .. entry(274, orientation), .. U32(0)];
    }

    private static byte[] PngExif(byte[] exif)
    {
        using var chunk = new MemoryStream();
        PngChunk.Write(chunk, "eXIf"u8, exif);
        return chunk.ToArray();
    }

    // RIFF with the extended header, the picture's own chunk and the note.
    private static byte[] ExtendedWebP(byte[] simple, byte[] exif)
    {
        var picture = simple[12..];
        if (picture.AsSpan().StartsWith("VP8X"u8))
            picture = picture[18..];
        byte[] chunk(ReadOnlySpan<byte> type, byte[] data) => [.. type, .. Little(data.Length), .. data, .. new byte[data.Length % 2]];
        byte[] body = [.. "WEBP"u8, .. chunk("VP8X"u8, [8, 0, 0, 0, 63, 0, 0, 31, 0, 0]), .. picture, .. chunk("EXIF"u8, exif)];
        return [.. "RIFF"u8, .. Little(body.Length), .. body];
    }

    private static byte[] Little(int value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        return bytes;
    }
}
