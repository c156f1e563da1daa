using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

public sealed class PictureKindsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("rgb48be", "png")]
    [InlineData("rgba64be", "png")]
    [InlineData("rgba", "png")]
    [InlineData("yuvj444p", "jpg")]
    [InlineData("yuvj420p", "jpg")]
    [InlineData("rgb24", "ppm")]
    [InlineData("bgr24", "bmp")]
    [InlineData("argb", "webp")]
    public async Task Colours_survive_every_depth_and_layout(string pixels, string extension)
    {
        PngWriter.Write(folder.File("a.png"), Gradient(64, 48));
        await Ffmpeg("-i", folder.File("a.png"), "-pix_fmt", pixels, "-q:v", extension == "webp" ? "100" : "1", folder.File("b." + extension));

        var read = await ImageReader.ReadAsync(folder.File("b." + extension), cancellationToken: Ct);

        Assert.InRange(Psnr(Gradient(64, 48).Pixels, read.Pixels), extension is "jpg" or "webp" ? 35 : 48, 200);
    }

    [Theory]
    [InlineData("gray", "png")]
    [InlineData("gray16be", "png")]
    [InlineData("ya8", "png")]
    [InlineData("ya16be", "png")]
    [InlineData("gray", "jpg")]
    public async Task Grey_pictures_are_grey_and_of_the_same_brightness(string pixels, string extension)
    {
        await Ffmpeg("-f", "lavfi", "-i", "color=0xA0A0A0:size=16x16", "-frames:v", "1", "-pix_fmt", pixels, "-q:v", "1",
            folder.File("a." + extension));

        var read = await ImageReader.ReadAsync(folder.File("a." + extension), cancellationToken: Ct);

        Assert.All(read.Pixels.ToArray(), value => Assert.InRange(value, 0xA0 - 2, 0xA0 + 2));
    }

    [Fact]
    public async Task A_palette_with_a_clear_colour_is_read()
    {
        await Ffmpeg("-f", "lavfi", "-i", "color=black:size=16x16:duration=0.04,format=rgba,geq="
            + "r=if(lt(X\\,8)\\,32\\,0):g=if(lt(X\\,8)\\,80\\,0):b=if(lt(X\\,8)\\,192\\,0):a=if(lt(X\\,8)\\,255\\,0)",
            "-filter_complex", "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none", "-frames:v", "1", folder.File("a.png"));

        var read = await ImageReader.ReadAsync(folder.File("a.png"), cancellationToken: Ct);

        Assert.Equal([0x20, 0x50, 0xC0], read.Pixels[..3].ToArray().Select(value => (int)value));
        Assert.Equal([255, 255, 255], read.Pixels[(15 * 3)..(16 * 3)].ToArray().Select(value => (int)value));
    }

    [Theory]
    [InlineData(0, 0, 0, 0, 255, 255, 255)]
    [InlineData(255, 0, 0, 0, 0, 255, 255)]
    [InlineData(0, 255, 255, 0, 255, 0, 0)]
    [InlineData(0, 0, 0, 255, 0, 0, 0)]
    [InlineData(0, 0, 255, 128, 127, 127, 0)]
    public async Task A_cmyk_jpeg_has_the_colours_of_its_inks(byte c, byte m, byte y, byte k, byte red, byte green, byte blue)
    {
        await File.WriteAllBytesAsync(folder.File("a.jpg"), CmykJpeg.Write(c, m, y, k), Ct);

        var read = await ImageReader.ReadAsync(folder.File("a.jpg"), cancellationToken: Ct);

        Assert.Equal((8, 8), (read.Width, read.Height));
        for (var i = 0; i < 64; i++)
        {
            Assert.InRange(read.Pixels.Span[i * 3], red - 2, red + 2);
            Assert.InRange(read.Pixels.Span[(i * 3) + 1], green - 2, green + 2);
            Assert.InRange(read.Pixels.Span[(i * 3) + 2], blue - 2, blue + 2);
        }
    }

    [Theory]
    [InlineData("gif")]
    [InlineData("apng")]
    [InlineData("avif")]
    [InlineData("mp4")]
    public async Task Of_a_moving_picture_the_first_frame_is_read(string extension)
    {
        // Red, then blue.
        string[] codec = extension == "avif" ? ["-c:v", "libaom-av1", "-cpu-used", "8"] : [];
        await Ffmpeg(["-f", "lavfi", "-i", "color=0xE02020:size=32x32:rate=5:duration=0.4", "-f", "lavfi",
            "-i", "color=0x2020E0:size=32x32:rate=5:duration=0.4", "-filter_complex", "[0][1]concat", .. codec, folder.File("a." + extension)]);

        var read = await ImageReader.ReadAsync(folder.File("a." + extension), cancellationToken: Ct);

        Assert.InRange(read.Pixels.Span[0], 0xC0, 0xFF);
        Assert.InRange(read.Pixels.Span[2], 0, 0x40);
    }

    [Fact]
    public async Task A_moving_webp_is_refused_with_what_to_do()
    {
        await Ffmpeg("-f", "lavfi", "-i", "testsrc=size=32x32:rate=5:duration=0.4", "-c:v", "libwebp_anim", folder.File("a.webp"));

        var error = await Assert.ThrowsAsync<MediaException>(() => ImageReader.ReadAsync(folder.File("a.webp"), cancellationToken: Ct));

        FaultAssert.Is(error, "animated_webp", ("file", folder.File("a.webp")));
    }

    [Fact]
    public async Task Resizing_is_lanczos()
    {
        var image = new RgbImage(96, 60, Noise(96 * 60 * 3));
        PngWriter.Write(folder.File("a.png"), image);

        var read = await ImageReader.ReadAsync(folder.File("a.png"), 40, 25, Ct);

        var expected = Lanczos(image, 40, 25);
        Assert.InRange(Psnr(expected, read.Pixels), 45, 200);
    }

    // Lanczos with three lobes, widened for making smaller, pixel centres at halves.
    private static byte[] Lanczos(RgbImage image, int width, int height)
    {
        var wide = new double[image.Height * width * 3];
        for (var x = 0; x < width; x++)
        {
            foreach (var (from, weight) in Weights(x, image.Width, width))
            {
                for (var i = 0; i < image.Height * 3; i++)
                    wide[(((i / 3 * width) + x) * 3) + (i % 3)] += weight * image.Pixels.Span[(((i / 3 * image.Width) + from) * 3) + (i % 3)];
            }
        }

        var result = new double[height * width * 3];
        for (var y = 0; y < height; y++)
        {
            foreach (var (from, weight) in Weights(y, image.Height, height))
            {
                for (var i = 0; i < width * 3; i++)
                    result[(y * width * 3) + i] += weight * wide[(from * width * 3) + i];
            }
        }

        return [.. result.Select(value => (byte)Math.Clamp(Math.Round(value), 0, 255))];
    }

    private static IEnumerable<(int From, double Weight)> Weights(int at, int from, int to)
    {
        var ratio = (double)from / to;
        var widening = Math.Max(1, ratio);
        var centre = ((at + 0.5) * ratio) - 0.5;
        var raw = Enumerable.Range((int)Math.Floor(centre - (3 * widening)), (int)(6 * widening) + 3)
            .Select(i => (From: Math.Clamp(i, 0, from - 1), Weight: Kernel((i - centre) / widening))).ToList();
        var sum = raw.Sum(pair => pair.Weight);
        return raw.Select(pair => (pair.From, pair.Weight / sum));
    }

    private static double Kernel(double x) => Math.Abs(x) >= 3 ? 0 : Sinc(x) * Sinc(x / 3);

    private static double Sinc(double x) => x == 0 ? 1 : Math.Sin(Math.PI * x) / (Math.PI * x);
}
