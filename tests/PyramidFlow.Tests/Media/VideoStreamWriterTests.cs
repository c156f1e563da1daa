using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

public sealed class VideoStreamWriterTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(24)]
    [InlineData(29.97)]
    public async Task What_was_sent_so_far_can_be_played_after_each_call(double fps)
    {
        using var sent = new MemoryStream();
        await using var writer = VideoStreamWriter.Create(sent, "the stream", 96, 64, new() { Fps = fps });

        await writer.WriteFramesAsync(Frames(0, 1), Ct);
        Assert.Equal(["ftyp", "moov", "moof", "mdat"], Boxes(sent.ToArray()));
        Assert.Single(await Received(sent));

        await writer.WriteFramesAsync(Frames(1, 8), Ct);
        Assert.Equal(["ftyp", "moov", "moof", "mdat", "moof", "mdat"], Boxes(sent.ToArray()));
        Assert.Equal(9, (await Received(sent)).Count);

        await writer.WriteFramesAsync(Frames(9, 8), Ct);
        await writer.CompleteAsync(Ct);

        var frames = await Received(sent);
        Assert.Equal(17, frames.Count);
        for (var i = 0; i < frames.Count; i++)
            Assert.InRange(Psnr(Gradient(96, 64, i).Pixels, frames[i].Pixels), 35, 100);
        var info = await VideoReader.ProbeAsync(folder.File("received.mp4"), Ct);
        Assert.Equal(17 / fps, info.Duration.TotalSeconds, 2);
        Assert.Equal(fps, info.Fps, 2);
        Assert.Equal(17, writer.FrameCount);
    }

    [Fact]
    public async Task Over_a_socket_the_first_fragment_is_whole_before_later_frames_are_written()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var client = new TcpClient();
        await client.ConnectAsync((IPEndPoint)listener.LocalEndpoint, Ct);
        using var server = await listener.AcceptTcpClientAsync(Ct);
        var received = new MemoryStream();
        await using (var writer = VideoStreamWriter.Create(server.GetStream(), "the socket", 96, 64))
        {
            await writer.WriteFramesAsync(Frames(0, 1), Ct);
            while (await ReceiveBox(client.GetStream(), received) != "mdat")
                continue;
            Assert.Equal(["ftyp", "moov", "moof", "mdat"], Boxes(received.ToArray()));
            Assert.Single(await Received(received));

            await writer.WriteFramesAsync(Frames(1, 8), Ct);
            await writer.CompleteAsync(Ct);
        }

        server.Close();
        await client.GetStream().CopyToAsync(received, Ct);
        Assert.Equal(9, (await Received(received)).Count);
    }

    [Fact]
    public async Task However_long_a_call_is_it_is_one_fragment()
    {
        using var sent = new MemoryStream();
        await using var writer = VideoStreamWriter.Create(sent, "the stream", 16, 16);

        await writer.WriteFramesAsync(Noise(16 * 16 * 3 * 600), Ct);

        Assert.Equal(["ftyp", "moov", "moof", "mdat"], Boxes(sent.ToArray()));
    }

    [Fact]
    public async Task Fragments_are_numbered_and_their_times_follow_each_other()
    {
        using var sent = new MemoryStream();
        await using var writer = VideoStreamWriter.Create(sent, "the stream", 96, 64);
        foreach (var (first, count) in new[] { (0, 1), (1, 8), (9, 3) })
            await writer.WriteFramesAsync(Frames(first, count), Ct);

        var bytes = sent.ToArray();
        var numbers = Numbers(bytes, "mfhd", at => BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(at + 8)));
        var times = Numbers(bytes, "tfdt", at => BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(at + 8)));

        Assert.Equal([1, 2, 3], numbers);
        Assert.Equal([0, 1, 9], times.Select(time => time / times[1]));
    }

    [Fact]
    public async Task The_stream_carries_the_same_texts_as_a_file()
    {
        using var sent = new MemoryStream();
        await using (var writer = VideoStreamWriter.Create(sent, "the stream", 96, 64, new()
        {
            Title = Hostile,
            Metadata = new Dictionary<string, string> { ["comment"] = """{"seed":7}""" },
        }))
            await writer.WriteFramesAsync(Frames(0, 2), Ct);
        await File.WriteAllBytesAsync(folder.File("received.mp4"), sent.ToArray(), Ct);

        var texts = await MediaMetadata.ReadAsync(folder.File("received.mp4"), Ct);

        Assert.Equal((Hostile, """{"seed":7}"""), (texts["title"], texts["comment"]));
    }

    [Fact]
    public async Task A_file_can_be_read_while_it_grows_and_keeps_what_it_has()
    {
        await using (var writer = VideoStreamWriter.Create(folder.File("a.mp4"), 96, 64))
        {
            await writer.WriteFramesAsync(Frames(0, 1), Ct);
            Assert.Single(await ReadFrames(folder.File("a.mp4")));
            await writer.WriteFramesAsync(Frames(1, 8), Ct);
        }

        Assert.Equal(9, (await ReadFrames(folder.File("a.mp4"))).Count);
        Assert.Equal([folder.File("a.mp4")], Directory.GetFiles(folder.Path));
    }

    [Theory]
    [InlineData("a.mp4", 95, 64, "odd_size", "value", 95)]
    [InlineData("a.gif", 96, 64, "no_stream_format", "file", "a.gif")]
    [InlineData("a.avi", 96, 64, "unknown_format", "extension", ".avi")]
    public void Impossible_requests_are_refused(string name, int width, int height, string code, string parameter, object value)
    {
        FaultAssert.Is(Assert.Throws<MediaException>(() => VideoStreamWriter.Create(folder.File(name), width, height)), code, (parameter, value));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void A_missing_ffmpeg_shows_before_the_first_frame_and_leaves_no_file()
    {
        var tools = FfmpegTools.From("/nowhere/ffmpeg");

        FaultAssert.Is(Assert.Throws<MediaException>(() => VideoStreamWriter.Create(folder.File("a.mp4"), 96, 64, tools: tools)),
            "program_missing", ("program", "ffmpeg"), ("path", "/nowhere/ffmpeg"));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    private async Task<List<RgbImage>> Received(MemoryStream sent)
    {
        await File.WriteAllBytesAsync(folder.File("received.mp4"), sent.ToArray(), Ct);
        return await ReadFrames(folder.File("received.mp4"));
    }

    // Box by box, each of the length it says, up to the last byte.
    private static List<string> Boxes(byte[] file)
    {
        var types = new List<string>();
        var at = 0;
        while (at < file.Length)
        {
            types.Add(Encoding.ASCII.GetString(file, at + 4, 4));
            at += BinaryPrimitives.ReadInt32BigEndian(file.AsSpan(at));
        }

        Assert.Equal(file.Length, at);
        return types;
    }

    private static async Task<string> ReceiveBox(Stream stream, MemoryStream received)
    {
        var head = new byte[8];
        await stream.ReadExactlyAsync(head, Ct);
        var content = new byte[BinaryPrimitives.ReadInt32BigEndian(head) - head.Length];
        await stream.ReadExactlyAsync(content, Ct);
        received.Write(head);
        received.Write(content);
        return Encoding.ASCII.GetString(head, 4, 4);
    }

    private static List<long> Numbers(byte[] file, string box, Func<int, long> read)
    {
        var numbers = new List<long>();
        var type = Encoding.ASCII.GetBytes(box);
        for (var at = file.AsSpan().IndexOf(type); at >= 0;)
        {
            numbers.Add(read(at));
            var next = file.AsSpan(at + 4).IndexOf(type);
            at = next < 0 ? -1 : at + 4 + next;
        }

        return numbers;
    }
}
