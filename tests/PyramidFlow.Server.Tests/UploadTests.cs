using System.Diagnostics;
using System.Net;
using System.Text;
using PyramidFlow.Media;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>Uploads that are too long or never end, and pictures that come as text.</summary>
public sealed class UploadTests() : StartedServer(options => options with
{
    RunsWorker = false,
    Limits = new ServerLimits { ImageBytes = 1 << 20, VideoBytes = 2 << 20, VideoSeconds = 2 },
})
{
    private static readonly byte[] Picture = PngWriter.Encode(new RgbImage(64, 32, Enumerable.Repeat((byte)200, 64 * 32 * 3).ToArray()));
    private readonly TemporaryFolder folder = new();

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        folder.Dispose();
    }

    [Fact]
    public async Task A_video_that_says_it_is_too_long_is_refused_before_it_is_decoded()
    {
        var path = await VideoAsync("long.mp4", seconds: 3);
        // Its frames are rubbish: to decode one would be another fault.
        DamagedVideo.Spoil(path);

        await TooLongAsync(path);
    }

    [Fact]
    public async Task A_video_that_lies_about_its_length_is_refused_while_it_is_decoded()
    {
        var path = await VideoAsync("lies.mkv", seconds: 3);
        var bytes = await File.ReadAllBytesAsync(path, Cancel);
        // Its duration (element 4489, 8 bytes, milliseconds) is a second from now on.
        var duration = bytes.AsSpan().IndexOf((byte[])[0x44, 0x89, 0x88]);
        Assert.True(duration > 0);
        BitConverter.GetBytes(1000.0).Reverse().ToArray().CopyTo(bytes, duration + 3);
        await File.WriteAllBytesAsync(path, bytes, Cancel);
        Assert.Equal(1, (await VideoReader.ProbeAsync(path, Cancel)).Duration.TotalSeconds);

        await TooLongAsync(path);
    }

    [Fact]
    public async Task A_video_that_is_short_enough_is_taken()
    {
        using var form = await FormAsync(await VideoAsync("short.mp4", seconds: 1));
        await TestServer.JsonAsync(await Server.Client.PostAsync("/v1/videos", form, Cancel), HttpStatusCode.OK);
    }

    [Fact]
    public async Task An_upload_without_end_is_refused_when_it_is_larger_than_allowed()
    {
        using var client = await RawClient.OpenAsync(Server);
        await client.SendAsync("POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n");
        await ChunkAsync(Encoding.Latin1.GetBytes("--b\r\nContent-Disposition: form-data; name=\"input_reference\"; filename=\"a.png\"\r\n\r\n\u0089PNG\r\n\u001a\n        "));
        var answer = client.AnswerAsync();
        var sent = 0L;
        for (var block = new byte[1 << 16]; !answer.IsCompleted; sent += block.Length)
        {
            try
            {
                await ChunkAsync(block);
            }
            catch (IOException)
            {
                // The server has hung up; what it said before is still to be read.
                break;
            }
        }

        Assert.StartsWith("HTTP/1.1 413 ", await answer, StringComparison.Ordinal);
        // What lies in buffers between the two, and no more, was sent beyond the limit.
        Assert.InRange(sent, 1, 256 << 20);
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(Server.Data, "incoming")));

        async Task ChunkAsync(byte[] bytes)
        {
            await client.SendAsync($"{bytes.Length:x}\r\n");
            await client.SendAsync(bytes);
            await client.SendAsync("\r\n");
        }
    }

    // Every placement of white space within the blocks of four, and pieces of every length: the text comes as the network cuts it.
    [Theory]
    [InlineData("")]
    [InlineData("a")]
    [InlineData("ab")]
    [InlineData("abc, of three blocks")]
    public async Task Base64_is_decoded_whatever_its_pieces_and_white_space(string content)
    {
        var text = Convert.ToBase64String(Encoding.UTF8.GetBytes(content));
        for (var at = 0; at <= text.Length; at++)
        {
            foreach (var piece in new[] { 1, 2, 3, 5, 1000 })
                Assert.Equal(content, await Decoded(text.Insert(at, " \r\n\t"), piece));
        }

        var whole = new string('x', 100_000);
        Assert.Equal(whole, await Decoded(Convert.ToBase64String(Encoding.UTF8.GetBytes(whole), Base64FormattingOptions.InsertLineBreaks), 7001));
    }

    [Theory]
    [InlineData("YQ")]
    [InlineData("YQ=")]
    [InlineData("YWI=YWI=")]
    [InlineData("YQ==Y")]
    [InlineData("YW#J")]
    [InlineData("=")]
    public async Task What_is_no_Base64_or_is_cut_is_refused(string text)
    {
        foreach (var piece in new[] { 1, 3, 1000 })
            await Assert.ThrowsAsync<FormatException>(() => Decoded(text, piece));
    }

    private static async Task<string> Decoded(string text, int piece)
    {
        using var source = new PiecewiseStream(Encoding.ASCII.GetBytes(text), piece);
        using var decoded = new MemoryStream();
        await new Base64Stream(source).CopyToAsync(decoded, piece, Cancel);
        return Encoding.UTF8.GetString(decoded.ToArray());
    }

    private sealed class PiecewiseStream(byte[] bytes, int piece) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(piece, buffer.Length)], cancellationToken);
    }

    [Theory]
    [InlineData("json")]
    [InlineData("form")]
    public async Task A_picture_may_come_as_a_data_url(string how)
    {
        // With line breaks, as some programs write it.
        var url = "data:image/png;base64," + Convert.ToBase64String(Picture, Base64FormattingOptions.InsertLineBreaks).Replace("\r\n", how == "json" ? "\\n" : "\n", StringComparison.Ordinal);
        HttpContent body = how == "json"
            ? new StringContent($"{{\"prompt\": \"a circle\", \"input_reference\": {{\"image_url\": \"{url}\"}}}}", Encoding.UTF8, "application/json")
            : new MultipartFormDataContent { { new StringContent("a circle"), "prompt" }, { new StringContent(url), "input_reference[image_url]" } };

        var id = (await TestServer.JsonAsync(await Server.Client.PostAsync("/v1/videos", body, Cancel), HttpStatusCode.OK)).GetProperty("id").GetString();

        var input = await Server.Client.GetByteArrayAsync($"/v1/videos/{id}/content?variant=input", Cancel);
        Assert.Equal(new PictureSize(128, 128), await ImageReader.MeasureAsync(folder.Write("input.png", input), Cancel));
    }

    [Theory]
    [InlineData("input_reference[image_url]", "http://localhost/a.png", 400, "not_a_data_url")]
    [InlineData("input_reference[image_url]", "data:image/png;base64,####", 400, "not_base64")]
    [InlineData("input_reference[image_url]", "data:image/png;base64,aGVsbG8gd29ybGQsIHRoaXMgaXMgdGV4dA==", 415, "upload_of_other_kind")]
    [InlineData("input_reference[image_url]", "", 400, "not_a_data_url")]
    [InlineData("input_reference[file_id]", "file-1", 400, "file_id_unsupported")]
    public async Task A_picture_as_text_that_is_none_is_refused_with_the_cause(string name, string value, int status, string reason)
    {
        using var form = new MultipartFormDataContent { { new StringContent("a circle"), "prompt" }, { new StringContent(value), name } };
        await TestServer.RefusedAsync(await Server.Client.PostAsync("/v1/videos", form, Cancel), (HttpStatusCode)status, reason);
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(Server.Data, "incoming")));
    }

    [Fact]
    public async Task A_data_url_that_was_cut_is_refused()
    {
        var text = Convert.ToBase64String(Picture);
        using var form = new MultipartFormDataContent { { new StringContent("a circle"), "prompt" }, { new StringContent("data:image/png;base64," + text[..^6]), "input_reference[image_url]" } };
        await TestServer.RefusedAsync(await Server.Client.PostAsync("/v1/videos", form, Cancel), HttpStatusCode.BadRequest, "not_base64");
    }

    [Fact]
    public async Task Hostile_pictures_are_refused_with_a_sentence_and_give_their_decoder_back()
    {
        // Sides whose product overflows, and more pixels than the size says: twice as many as may be decoded at once, and then one that is fine.
        var (enormous, full) = (Picture.ToArray(), Picture.ToArray());
        enormous.AsSpan(16, 8).Fill(0xff);
        byte[] data = [0, 2, 0, 0, .. "IDAT"u8, .. new byte[(2 << 16) + 4]];
        foreach (var bytes in new[] { enormous, [.. full[..33], .. data, .. full[33..]], enormous, enormous })
        {
            using var form = await FormAsync(folder.Write("a.png", bytes));
            var answer = await Server.Client.PostAsync("/v1/videos", form, Cancel);
            var problem = await TestServer.ProblemAsync(answer, HttpStatusCode.UnsupportedMediaType);
            // The sentence of the file names the upload in its place.
            Assert.StartsWith("the picture is ", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
            Assert.Contains(problem.GetProperty("error").GetProperty("reason").GetString(), (string[])["too_many_pixels", "picture_damaged"]);
            Assert.False(problem.GetProperty("error").GetProperty("parameters").TryGetProperty("file", out _));
        }

        using var fine = await FormAsync(folder.Write("a.png", Picture));
        await TestServer.JsonAsync(await Server.Client.PostAsync("/v1/videos", fine, Cancel), HttpStatusCode.OK);
    }

    [Fact]
    public async Task A_tiff_is_taken()
    {
        var path = folder.File("a.tiff");
        using (var process = Process.Start(FfmpegTools.FromEnvironment().Ffmpeg, ["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=s=64x64", "-frames:v", "1", path]))
            await process.WaitForExitAsync(Cancel);
        using var form = await FormAsync(path);
        await TestServer.JsonAsync(await Server.Client.PostAsync("/v1/videos", form, Cancel), HttpStatusCode.OK);
    }

    private async Task TooLongAsync(string path)
    {
        using var form = await FormAsync(path);
        await TestServer.RefusedAsync(await Server.Client.PostAsync("/v1/videos", form, Cancel), HttpStatusCode.RequestEntityTooLarge, "upload_too_long", "most_seconds=2");
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(Server.Data, "incoming")));
        Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(Server.Data, "videos")));
    }

    private static async Task<MultipartFormDataContent> FormAsync(string path) => new()
    {
        { new StringContent("a circle"), "prompt" },
        { new ByteArrayContent(await File.ReadAllBytesAsync(path, Cancel)), "input_reference", "clip" },
    };

    private async Task<string> VideoAsync(string name, int seconds)
    {
        var path = folder.File(name);
        using var process = Process.Start(FfmpegTools.FromEnvironment().Ffmpeg,
            ["-loglevel", "error", "-f", "lavfi", "-i", $"testsrc=size=64x64:rate=24:duration={seconds}", "-pix_fmt", "yuv420p", path]);
        await process.WaitForExitAsync(Cancel);
        Assert.Equal(0, process.ExitCode);
        return path;
    }
}
