using PyramidFlow.Media;
using PyramidFlow.Testing;
using static PyramidFlow.Tests.Media.TestPictures;

namespace PyramidFlow.Tests.Media;

public sealed class PartialFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void What_a_killed_process_left_is_removed_by_the_next_write_to_the_same_target()
    {
        folder.Write(".a.partial-0123abcd.png", "half");
        folder.Write(".a.partial-0123abcd.mp4", "of another target");
        folder.Write(".b.partial-0123abcd.png", "of another target");
        folder.Write(".a.partial-notes by hand.png", "not ours");

        PngWriter.Write(folder.File("a.png"), Gradient(8, 8));

        Assert.Equal([".a.partial-0123abcd.mp4", ".a.partial-notes by hand.png", ".b.partial-0123abcd.png", "a.png"],
            Directory.GetFiles(folder.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_file_that_is_being_written_is_left_alone()
    {
        using var first = PartialFile.Create(folder.File("a.png"));
        PngWriter.Write(folder.File("a.png"), Gradient(8, 8));

        Assert.True(File.Exists(first.Path));
    }

    [Fact]
    public async Task A_disk_that_is_full_for_ffmpeg_is_named_and_nothing_is_left()
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "this system has no /dev/full");
        // The real ffmpeg, which is made to write where no space is.
        var script = folder.File("bin", "ffmpeg");
        await using (var shell = FfmpegProcess.Start("sh",
            ["-c", "printf '%s' \"$1\" > \"$2\" && chmod +x \"$2\"", "sh",
                "#!/bin/bash\nexec ffmpeg \"${@:1:$#-1}\" file:/dev/full\n", script], TestContext.Current.CancellationToken))
            await shell.WaitAsync("the script could not be written");

        var error = await Assert.ThrowsAsync<MediaException>(async () =>
        {
            await using var writer = VideoWriter.Create(folder.File("a.mp4"), 96, 64, tools: FfmpegTools.From(script));
            await writer.WriteFramesAsync(Noise(96 * 64 * 3 * 50), TestContext.Current.CancellationToken);
            await writer.CompleteAsync(TestContext.Current.CancellationToken);
        });

        FaultAssert.Is(error, "disk_full", ("folder", folder.Path));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }
}
