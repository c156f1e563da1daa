using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

public sealed class PngWriterTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Text_comes_back_unchanged()
    {
        var written = new Dictionary<string, string>
        {
            ["parameters"] = "plain Latin-1: é ü \n second line",
            ["prompt"] = Hostile + new string('漢', 10_000),
            ["empty"] = "",
        };
        PngWriter.Write(folder.File("a.png"), Gradient(16, 8), written);

        Assert.Equal(written, PngText.Read(folder.File("a.png")));
    }

    [Fact]
    public async Task Other_programs_read_the_text()
    {
        PngWriter.Write(folder.File("a.png"), Gradient(16, 8), new Dictionary<string, string> { ["Comment"] = "a red ball" });
        await using var process = FfmpegProcess.Start("ffprobe",
            ["-loglevel", "error", "-show_entries", "frame_tags", "-of", "json", folder.File("a.png")],
            TestContext.Current.CancellationToken);

        Assert.Contains("a red ball", await process.ReadAllTextAsync());
    }

    [Theory]
    [InlineData("")]
    [InlineData(" padded")]
    [InlineData("漢字")]
    public void Impossible_keywords_are_refused_and_leave_nothing(string keyword)
    {
        Assert.Throws<MediaException>(() =>
            PngWriter.Write(folder.File("a.png"), Gradient(8, 8), new Dictionary<string, string> { [keyword] = "x" }));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void A_cut_file_is_refused_by_the_text_reader()
    {
        var png = PngWriter.Encode(Gradient(16, 8), new Dictionary<string, string> { ["prompt"] = "x" });
        for (var length = 0; length < png.Length - 4; length += 5)
        {
            File.WriteAllBytes(folder.File("cut.png"), png[..length]);
            Assert.Throws<MediaException>(() => PngText.Read(folder.File("cut.png")));
        }
    }

    [Fact]
    public void A_smooth_picture_is_packed()
    {
        var image = Gradient(256, 256);

        Assert.InRange(PngWriter.Encode(image).Length, 100, image.Pixels.Length / 4);
    }

    [Fact]
    public void A_picture_of_the_wrong_length_cannot_be_made() =>
        Assert.Throws<ArgumentException>(() => new RgbImage(4, 4, new byte[47]));
}
