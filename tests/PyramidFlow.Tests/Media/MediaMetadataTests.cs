using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

public sealed class MediaMetadataTests : IDisposable
{
    private static readonly Dictionary<string, string> Texts = new()
    {
        ["comment"] = """{"prompt":"a \"b\" = 漢字 ünï","seed":18446744073709551615,"size":[640,384]}""",
        ["pyramidflow_note"] = Hostile + new string('é', 10_000),
    };

    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("mp4")]
    [InlineData("gif")]
    [InlineData("png")]
    [InlineData("stream")]
    public async Task What_a_run_notes_is_read_from_every_kind_of_file_whatever_it_is_called(string kind)
    {
        var path = folder.File("file.bin");
        File.Move(await Write(kind), path);

        var read = await MediaMetadata.ReadAsync(path, Ct);

        foreach (var (key, text) in Texts)
            Assert.Equal(text, read[key]);
    }

    [Theory]
    [InlineData("mp4")]
    [InlineData("gif")]
    [InlineData("png")]
    [InlineData("stream")]
    public async Task What_a_run_notes_is_read_without_a_program(string kind)
    {
        var read = await MediaMetadata.ReadAsync(await Write(kind), Ct, new FfmpegTools("/nowhere/ffmpeg", "/nowhere/ffprobe"));

        foreach (var (key, text) in Texts)
            Assert.Equal(text, read[key]);
    }

    [Fact]
    public async Task An_index_behind_the_frames_is_found()
    {
        await Ffmpeg("-i", await Write("mp4"), "-c", "copy", "-movflags", "use_metadata_tags", folder.File("late.mp4"));
        await using var file = File.OpenRead(folder.File("late.mp4"));

        Assert.Equal(Texts["comment"], Mp4Texts.Read(file)!["comment"]);
    }

    [Theory]
    [InlineData("mp4")]
    [InlineData("stream")]
    public async Task Any_broken_byte_or_cut_of_an_mp4_gives_texts_or_none(string kind)
    {
        var bytes = await File.ReadAllBytesAsync(await Write(kind, small: true), Ct);
        for (var at = 0; at < bytes.Length; at++)
        {
            var broken = bytes.ToArray();
            broken[at] ^= 0xFF;
            foreach (var file in (byte[][])[broken, bytes[..at]])
                Assert.True(Mp4Texts.Read(new MemoryStream(file)) is null or { Count: >= 0 });
        }
    }

    [Fact]
    public async Task Webm_texts_are_found_though_their_keys_are_capitals()
    {
        await Ffmpeg("-i", await Write("mp4"), "-map_metadata", "-1", "-metadata", "comment=" + Texts["comment"], folder.File("a.webm"));

        Assert.Equal(Texts["comment"], (await MediaMetadata.ReadAsync(folder.File("a.webm"), Ct))["comment"]);
    }

    [Theory]
    [InlineData("key=value")]
    [InlineData("=value")]
    [InlineData("not a key = value")]
    public async Task A_gif_keeps_a_comment_that_looks_like_a_key(string comment)
    {
        await WriteVideo(folder.File("a.gif"), 2, options: new() { Metadata = new Dictionary<string, string> { ["comment"] = comment } });

        Assert.Equal(comment, (await MediaMetadata.ReadAsync(folder.File("a.gif"), Ct))["comment"]);
    }

    [Fact]
    public async Task Comments_of_other_programs_are_read_and_the_pictures_stay()
    {
        var path = await WriteVideo(folder.File("a.gif"), 3);
        var bytes = await File.ReadAllBytesAsync(path, Ct);
        await File.WriteAllBytesAsync(path, [.. bytes[..^1], 0x21, 0xFE, 5, .. "hello"u8, 6, .. " world"u8, 0, 0x3B], Ct);

        Assert.Equal("hello world", (await MediaMetadata.ReadAsync(path, Ct))["comment"]);
        Assert.Equal(3, (await ReadFrames(path)).Count);
    }

    [Theory]
    [InlineData("gif")]
    [InlineData("png")]
    public async Task Every_cut_of_a_picture_is_refused_in_words(string kind)
    {
        var bytes = await File.ReadAllBytesAsync(await Write(kind, small: true), Ct);
        for (var length = 0; length < bytes.Length - (kind == "png" ? 4 : 0); length++)
        {
            await File.WriteAllBytesAsync(folder.File("cut"), bytes[..length], Ct);
            await Assert.ThrowsAsync<MediaException>(() => MediaMetadata.ReadAsync(folder.File("cut"), Ct));
        }
    }

    [Theory]
    [InlineData("gif")]
    [InlineData("png")]
    public async Task Any_broken_byte_gives_texts_or_a_refusal(string kind)
    {
        var bytes = await File.ReadAllBytesAsync(await Write(kind, small: true), Ct);
        for (var at = 6; at < bytes.Length; at++)
        {
            var broken = bytes.ToArray();
            broken[at] ^= 0xFF;
            try
            {
                Assert.NotNull(kind == "gif" ? GifComments.Read(new MemoryStream(broken)) : PngText.Read(new MemoryStream(broken)));
            }
            catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
            {
                Assert.NotEmpty(e.Message);
            }
        }
    }

    [Fact]
    public async Task Files_that_hold_no_texts_are_refused_in_words()
    {
        folder.Write("empty.mp4", "");
        folder.Write("words.mp4", "words\n");

        FaultAssert.Is(await Refused("none.mp4"), "file_missing", ("file", folder.File("none.mp4")));
        FaultAssert.Is(await Refused("empty.mp4"), "file_empty", ("file", folder.File("empty.mp4")));
        FaultAssert.Is(await Refused("words.mp4"), "not_a_video", ("file", folder.File("words.mp4")));
        FaultAssert.Is(await Refused("."), "file_is_folder", ("file", folder.File(".")));
    }

    private async Task<MediaException> Refused(string name) =>
        await Assert.ThrowsAsync<MediaException>(() => MediaMetadata.ReadAsync(folder.File(name), Ct));

    private async Task<string> Write(string kind, bool small = false)
    {
        var texts = small ? new() { ["comment"] = "a", ["b"] = "c" } : Texts;
        var path = folder.File("made." + (kind == "stream" ? "mp4" : kind));
        if (kind == "png")
        {
            PngWriter.Write(path, Gradient(8, 8), texts);
        }
        else if (kind == "stream")
        {
            await using var writer = VideoStreamWriter.Create(path, 16, 16, new() { Metadata = texts });
            await writer.WriteFramesAsync(Gradient(16, 16).Pixels, Ct);
            await writer.CompleteAsync(Ct);
        }
        else
        {
            await WriteVideo(path, 2, 16, 16, new() { Metadata = texts });
        }

        return path;
    }
}
