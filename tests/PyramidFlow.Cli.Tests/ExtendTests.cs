using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public class ExtendTests(TinyModel model) : IClassFixture<TinyModel>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_video_is_kept_and_new_frames_follow()
    {
        using var folder = new TemporaryFolder();
        await VideoAsync(folder.File("in.mp4"), 20, 64, 128);
        var run = await ExtendAsync(folder, "in.mp4", "out.mp4", "a ball", "--frames", "16", "--size", "64x128");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Equal(20 + 16, await FramesAsync(folder.File("out.mp4")));
        Assert.Contains("36 frames of 64x128", run.Error, StringComparison.Ordinal);
        var (before, after) = (await PixelsAsync(folder.File("in.mp4"), 20), await PixelsAsync(folder.File("out.mp4"), 20));
        Assert.InRange(before.Zip(after, (a, b) => Math.Abs(a - b)).Average(), 0, 3);
    }

    [Fact]
    public async Task Only_the_new_frames_are_written_when_asked_and_what_the_video_was_made_from_goes_on()
    {
        using var folder = new TemporaryFolder();
        await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "-o", folder.File("in.mp4"));
        var run = await CliRun.OfAsync("extend", folder.File("in.mp4"), "--model", model.Folder, "-o", folder.File("out.mp4"), "--frames", "8", "--new-only", "--seed", "3");
        var like = await CliRun.OfAsync("extend", folder.File("in.mp4"), "--like", folder.File("out.mp4"), "--model", model.Folder, "-o", folder.File("again.mp4"));

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Equal(8, await FramesAsync(folder.File("out.mp4")));
        using var notes = JsonDocument.Parse((await MediaMetadata.ReadAsync(folder.File("out.mp4"), Cancel))["comment"]);
        Assert.Equal("a red ball", notes.RootElement.GetProperty("prompt").GetString());
        Assert.True(like.Code == ExitCode.Ok, like.Error);
        Assert.Equal(await File.ReadAllBytesAsync(folder.File("out.mp4"), Cancel), await File.ReadAllBytesAsync(folder.File("again.mp4"), Cancel));
        (await CliRun.OfAsync("generate", "--like", folder.File("out.mp4"), "--model", model.Folder, "-o", folder.File("x.mp4")))
            .AssertRefused("goes on from the video in.mp4", "pyramidflow extend");
    }

    [Fact]
    public async Task A_continuation_is_made_as_its_video_was_but_for_seed_and_length()
    {
        using var folder = new TemporaryFolder();
        var first = await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "--guidance", "3", "--video-steps", "2,2,2", "--seed", "5", "-o", folder.File("in.mp4"));
        Assert.True(first.Code == ExitCode.Ok, first.Error);
        var run = await CliRun.OfAsync("extend", folder.File("in.mp4"), "--model", model.Folder, "-o", folder.File("out.mp4"), "--frames", "8", "--guidance", "2", "--json");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        using var notes = JsonDocument.Parse((await MediaMetadata.ReadAsync(folder.File("out.mp4"), Cancel))["comment"]);
        Assert.Equal(2, notes.RootElement.GetProperty("guidance").GetDouble());
        Assert.Equal([2, 2, 2], notes.RootElement.GetProperty("video_steps").EnumerateArray().Select(step => step.GetInt32()));
        Assert.NotEqual(5, notes.RootElement.GetProperty("seed").GetInt64());
    }

    [Fact]
    public async Task A_long_video_is_held_only_as_far_as_the_model_looks_back()
    {
        using var folder = new TemporaryFolder();
        await VideoAsync(folder.File("in.mp4"), 200, 64, 64);
        var run = await ExtendAsync(folder, "in.mp4", "out.mp4", "a ball", "--frames", "8", "--history", "2");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Equal(208, await FramesAsync(folder.File("out.mp4")));
    }

    [Fact]
    public async Task What_is_no_video_fails_with_one_sentence_and_leaves_nothing()
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(folder.File("text.mp4"), "no video", Cancel);
        await VideoAsync(folder.File("in.mp4"), 9, 64, 64);
        await File.WriteAllBytesAsync(folder.File("cut.mp4"), (await File.ReadAllBytesAsync(folder.File("in.mp4"), Cancel))[..1000], Cancel);
        foreach (var name in (string[])["text.mp4", "cut.mp4"])
        {
            var run = await ExtendAsync(folder, name, "out.mp4", "a ball");
            Assert.Equal(ExitCode.Failed, run.Code);
            Assert.Contains(name, Assert.Single(run.Error.Split('\n'), line => line.StartsWith("error: ", StringComparison.Ordinal)), StringComparison.Ordinal);
        }

        (await ExtendAsync(folder, "in.mp4", "out.png", "a ball")).AssertRefused(".mp4 or .gif");
        (await ExtendAsync(folder, "in.mp4", "out.mp4", "a ball", "--frames", "9")).AssertRefused("9 new frames");
        (await CliRun.OfAsync("extend", folder.File("in.mp4"), "--model", model.Folder, "-o", folder.File("out.mp4"))).AssertRefused("does not say what it was made from");
        Assert.DoesNotContain("out.mp4", folder.Names);
    }

    private static async Task VideoAsync(string path, int frames, int width, int height)
    {
        await using var video = VideoWriter.Create(path, width, height);
        for (var i = 0; i < frames; i++)
            await video.WriteFramesAsync(Enumerable.Repeat((byte)i, width * height * 3).ToArray(), Cancel);
        await video.CompleteAsync(Cancel);
    }

    private static async Task<long?> FramesAsync(string path) => (await VideoReader.ProbeAsync(path, Cancel)).FrameCount;

    private static async Task<byte[]> PixelsAsync(string path, int frames)
    {
        await foreach (var chunk in VideoReader.ReadAsync(path, new VideoReadOptions { MaxFrames = frames, FramesPerChunk = frames }, Cancel))
            return chunk.Rgb.ToArray();
        return [];
    }

    private Task<CliRun> ExtendAsync(TemporaryFolder folder, string video, string output, string prompt, params string[] more) =>
        CliRun.OfAsync(["extend", folder.File(video), prompt, "--model", model.Folder, "-o", folder.File(output), .. more]);
}
