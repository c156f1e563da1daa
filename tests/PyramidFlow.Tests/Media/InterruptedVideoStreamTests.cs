using System.IO.Pipes;
using System.Text;
using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

/// <summary>Readers that are slow or go away, cancellation and full disks: a stream says so, and no encoder stays behind.</summary>
public sealed class InterruptedVideoStreamTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly string mark = Guid.NewGuid().ToString("N");

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_call_waits_until_the_reader_has_taken_the_fragment()
    {
        using var slow = new SlowStream();
        await using var writer = VideoStreamWriter.Create(slow, "the stream", 96, 64);

        var writing = writer.WriteFramesAsync(Frames(0, 1), Ct);
        await slow.Entered;
        Assert.False(writing.IsCompleted);

        slow.Release();
        await writing;
    }

    [Fact]
    public async Task A_reader_that_takes_nothing_does_not_hold_up_cancellation()
    {
        using var slow = new SlowStream();
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(Ct);
        await using (var writer = VideoStreamWriter.Create(slow, "the stream", 96, 64, new() { Title = mark }))
        {
            var writing = writer.WriteFramesAsync(Frames(0, 1), cancel.Token);
            await slow.Entered;
            await cancel.CancelAsync();

            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => writing);
            await Assert.ThrowsAsync<ObjectDisposedException>(() => writer.WriteFramesAsync(Frames(1, 1), Ct));
        }

        Assert.Empty(Running(mark));
    }

    [Fact]
    public async Task Cancellation_stops_the_encoder()
    {
        using var cancel = new CancellationTokenSource();
        await using (var writer = VideoStreamWriter.Create(Stream.Null, "the stream", 640, 384, new() { Title = mark }))
        {
            Assert.Single(Running(mark));
            var writing = writer.WriteFramesAsync(Noise(640 * 384 * 3 * 60), cancel.Token);
            await cancel.CancelAsync();

            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => writing);
        }

        Assert.Empty(Running(mark));
    }

    [Fact]
    public async Task A_reader_that_goes_away_ends_the_writing_and_no_encoder_stays_behind()
    {
        using var pipe = new AnonymousPipeServerStream(PipeDirection.Out);
        var reader = new AnonymousPipeClientStream(PipeDirection.In, pipe.ClientSafePipeHandle);
        await using (var output = StandardOutput.Open(pipe.SafePipeHandle.DangerousGetHandle()))
        await using (var writer = VideoStreamWriter.Create(output, "the pipe", 96, 64, new() { Title = mark }))
        {
            await writer.WriteFramesAsync(Frames(0, 1), Ct);
            var head = new byte[8];
            await reader.ReadExactlyAsync(head, Ct);
            Assert.Equal("ftyp", Encoding.ASCII.GetString(head[4..]));
            await reader.DisposeAsync();
            pipe.ClientSafePipeHandle.Dispose();

            var error = await Assert.ThrowsAsync<MediaException>(() => writer.WriteFramesAsync(Frames(1, 8), Ct));
            FaultAssert.Is(error, "reader_closed", ("file", "the pipe"), ("frames", 1L));
            await Assert.ThrowsAsync<ObjectDisposedException>(() => writer.WriteFramesAsync(Frames(9, 8), Ct));
        }

        Assert.Empty(Running(mark));
    }

    [Fact]
    public async Task A_writer_that_got_no_frame_leaves_no_encoder_and_no_file()
    {
        await using (var writer = VideoStreamWriter.Create(folder.File("a.mp4"), 96, 64, new() { Title = mark }))
            FaultAssert.Is(await Assert.ThrowsAsync<MediaException>(() => writer.CompleteAsync(Ct)), "no_frame_written", ("file", folder.File("a.mp4")));

        Assert.Empty(Running(mark));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public async Task A_full_disk_is_named()
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "this system has no /dev/full");
        File.CreateSymbolicLink(folder.File("a.mp4"), "/dev/full");
        await using var writer = VideoStreamWriter.Create(folder.File("a.mp4"), 96, 64);

        var error = await Assert.ThrowsAsync<MediaException>(() => writer.WriteFramesAsync(Frames(0, 1), Ct));

        FaultAssert.Is(error, "disk_full", ("folder", folder.Path));
    }

    [Fact]
    public async Task A_pipe_that_is_full_holds_up_the_call_but_not_its_cancellation()
    {
        using var pipe = new AnonymousPipeServerStream(PipeDirection.Out);
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(Ct);
        await using var output = StandardOutput.Open(pipe.SafePipeHandle.DangerousGetHandle());
        await using var writer = VideoStreamWriter.Create(output, "the pipe", 96, 64);
        // Noise fills the pipe, whose reader takes nothing but is there.
        var writing = writer.WriteFramesAsync(Noise(96 * 64 * 3 * 60), cancel.Token);
        using var reader = new AnonymousPipeClientStream(PipeDirection.In, pipe.ClientSafePipeHandle);
        Assert.NotEqual(-1, reader.ReadByte());

        Assert.False(writing.IsCompleted);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => writing);
    }

    // Programs whose command line holds a word.
    private static List<string> Running(string word)
    {
        var found = new List<string>();
        foreach (var process in Directory.GetDirectories("/proc").Where(path => int.TryParse(Path.GetFileName(path), out _)))
        {
            try
            {
                var command = File.ReadAllText(Path.Combine(process, "cmdline"));
                if (command.Contains(word, StringComparison.Ordinal))
                    found.Add(command);
            }
            catch (IOException)
            {
                // It ended meanwhile.
            }
        }

        return found;
    }

    private sealed class SlowStream : MemoryStream
    {
        private readonly TaskCompletionSource entered = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource released = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Entered => entered.Task;

        public void Release() => released.SetResult();

        // Deaf to its token, as a blocking write to a pipe is.
        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            entered.TrySetResult();
            return new ValueTask(released.Task);
        }
    }
}
