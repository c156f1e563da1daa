using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

/// <summary>Cut and broken files give a picture, frames or a sentence, never another error and never a wait.</summary>
public sealed class DamagedMediaTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("png")]
    [InlineData("webp")]
    public async Task Every_cut_of_a_picture_is_refused_and_named(string extension)
    {
        var whole = await Picture(extension);
        for (var length = 0; length < whole.Length; length++)
        {
            var error = await Assert.ThrowsAsync<MediaException>(() => ReadPicture(whole[..length]));
            FaultAssert.Is(error, length == 0 ? "file_empty" : error.Code, ("file", "the upload"));
            Assert.Contains(error.Code, (string[])["file_empty", "picture_damaged", "not_a_picture"]);
        }

        Assert.Equal((16, 16), await ReadPicture(whole));
    }

    [Theory]
    [InlineData("gif", 53)]
    [InlineData("bmp", 97)]
    [InlineData("jpg", 61)]
    [InlineData("tiff", 131)]
    [InlineData("avif", 67)]
    public async Task A_cut_of_other_pictures_gives_a_picture_or_a_sentence(string extension, int step)
    {
        var whole = await Picture(extension);
        for (var length = 0; length < whole.Length; length += step)
            await PictureOrSentence(whole[..length]);
    }

    [Theory]
    [InlineData("png")]
    [InlineData("jpg")]
    [InlineData("webp")]
    public async Task Broken_bytes_give_a_picture_or_a_sentence(string extension)
    {
        var whole = await Picture(extension);
        for (var at = 0; at < whole.Length; at++)
        {
            var broken = whole.ToArray();
            broken[at] ^= 0xFF;
            // Our own reading of every one; ffmpeg's of a few, because each is a process.
            if (at % 71 == 5)
                await PictureOrSentence(broken);
            else
                HeaderOrRefusal(broken);
        }
    }

    [Theory]
    [InlineData("mp4", false)]
    [InlineData("mp4", true)]
    public async Task A_cut_or_a_broken_byte_of_a_video_gives_frames_or_a_sentence(string extension, bool streamed)
    {
        var path = folder.File("whole." + extension);
        await using (IVideoWriter writer = streamed ? VideoStreamWriter.Create(path, 16, 16) : VideoWriter.Create(path, 16, 16))
        {
            await writer.WriteFramesAsync(Noise(16 * 16 * 3 * 2), Ct);
            await writer.CompleteAsync(Ct);
        }

        var whole = await File.ReadAllBytesAsync(path, Ct);
        // Two programs run for each length; the step is prime, so that all kinds of places are met.
        for (var length = 0; length < whole.Length; length += 419)
        {
            var cut = folder.File("cut." + extension);
            await File.WriteAllBytesAsync(cut, whole[..length], Ct);
            await Sentence(() => VideoTail.ReadAsync(cut, 1, cancellationToken: Ct));
            var broken = whole.ToArray();
            broken[length] ^= 0xFF;
            await File.WriteAllBytesAsync(cut, broken, Ct);
            await Sentence(() => VideoTail.ReadAsync(cut, 1, cancellationToken: Ct));
        }
    }

    private static void HeaderOrRefusal(byte[] bytes)
    {
        try
        {
            var header = PictureHeader.Read(bytes);
            Assert.InRange(header?.Width ?? 0, 0, uint.MaxValue);
            if (header is not null)
                Assert.InRange(PictureTrim.FirstFrame(bytes, header).Length, 1, bytes.Length + 2);
        }
        catch (InvalidDataException e)
        {
            Assert.NotEmpty(e.Message);
        }
    }

    private static Task PictureOrSentence(byte[] bytes) => Sentence(() => ReadPicture(bytes));

    private static async Task Sentence(Func<Task> read)
    {
        try
        {
            await read();
        }
        catch (MediaException e)
        {
            Assert.NotEmpty(e.Message);
        }
    }

    private static async Task<(int Width, int Height)> ReadPicture(byte[] bytes)
    {
        var image = await ImageReader.ReadAsync(new MemoryStream(bytes), "the upload", cancellationToken: Ct);
        return (image.Width, image.Height);
    }

    private async Task<byte[]> Picture(string extension)
    {
        PngWriter.Write(folder.File("a.png"), Gradient(16, 16));
        var path = folder.File("b." + extension);
        await Ffmpeg("-i", folder.File("a.png"), path);
        return await File.ReadAllBytesAsync(path, Ct);
    }
}
