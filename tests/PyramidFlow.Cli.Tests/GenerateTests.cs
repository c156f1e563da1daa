using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public class GenerateTests(TinyModel model) : IClassFixture<TinyModel>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Makes_a_video_and_notes_in_it_how()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("ball.mp4");
        var run = await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "-o", path, "--seed", "7", "--frames", "17");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Equal(path, run.Out.Trim());
        Assert.Contains("seed 7, 17 frames of 64x64", run.Error, StringComparison.Ordinal);
        Assert.Contains("denoising", run.Error, StringComparison.Ordinal);
        Assert.Matches(@"s \(first output after [0-9.]+ s", run.Error);
        var video = await VideoReader.ProbeAsync(path, Cancel);
        Assert.Equal((64, 64), (video.Width, video.Height));
        using var notes = JsonDocument.Parse(video.Metadata["comment"]);
        Assert.Equal("a red ball", notes.RootElement.GetProperty("prompt").GetString());
        Assert.Equal(7, notes.RootElement.GetProperty("seed").GetInt32());
        Assert.Equal(17, notes.RootElement.GetProperty("frames").GetInt32());
        Assert.Equal(["ball.mp4"], folder.Names);
    }

    [Fact]
    public async Task A_png_is_one_frame_and_the_same_seed_makes_the_same_picture()
    {
        using var folder = new TemporaryFolder();
        var pictures = new List<byte[]>();
        foreach (var (name, seed) in ((string, string)[])[("one.png", "5"), ("two.png", "5"), ("three.png", "6")])
        {
            var run = await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "-o", folder.File(name), "--seed", seed);
            Assert.True(run.Code == ExitCode.Ok, run.Error);
            pictures.Add((await ImageReader.ReadAsync(folder.File(name), cancellationToken: Cancel)).Pixels.ToArray());
        }

        Assert.Equal(64 * 64 * 3, pictures[0].Length);
        Assert.Equal(pictures[0], pictures[1]);
        Assert.NotEqual(pictures[0], pictures[2]);
        Assert.Contains("\"seed\":5", PngText.Read(folder.File("one.png"))["comment"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_random_seed_is_printed_and_repeats_the_video()
    {
        using var folder = new TemporaryFolder();
        var first = await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "-o", folder.File("a.png"));
        var seed = System.Text.RegularExpressions.Regex.Match(first.Error, @"seed (\d+)").Groups[1].Value;
        var second = await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "-o", folder.File("b.png"), "--seed", seed);

        Assert.Equal((ExitCode.Ok, ExitCode.Ok), (first.Code, second.Code));
        Assert.Equal(await File.ReadAllBytesAsync(folder.File("a.png"), Cancel), await File.ReadAllBytesAsync(folder.File("b.png"), Cancel));
    }

    [Fact]
    public async Task An_image_becomes_the_first_frame()
    {
        using var folder = new TemporaryFolder();
        PngWriter.Write(folder.File("photo.png"), new RgbImage(100, 50, new byte[100 * 50 * 3]));
        var run = await CliRun.OfAsync("generate", "", "--image", folder.File("photo.png"), "--model", model.Folder, "-o", folder.File("x.gif"), "--seconds", "0.4");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Contains("9 frames", run.Error, StringComparison.Ordinal);
        Assert.True(File.Exists(folder.File("x.gif")));
    }

    [Fact]
    public async Task A_prompt_that_was_cut_is_a_warning()
    {
        using var folder = new TemporaryFolder();
        var run = await CliRun.OfAsync("generate", string.Join(' ', Enumerable.Repeat("ball", 300)), "--model", model.Folder, "-o", folder.File("x.png"));

        Assert.Equal(ExitCode.Ok, run.Code);
        Assert.Contains("warning: ", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cancelled_run_ends_with_130_and_leaves_nothing()
    {
        using var folder = new TemporaryFolder();
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        var run = await CliRun.OfAsync(cancelled.Token, "generate", "a red ball", "--model", model.Folder, "-o", folder.File("x.mp4"));

        Assert.Equal(ExitCode.Cancelled, run.Code);
        Assert.Empty(run.Out);
        Assert.Empty(folder.Names);
    }

    [Fact]
    public async Task Damaged_weights_fail_with_one_sentence_and_leave_nothing()
    {
        using var folder = new TemporaryFolder();
        using var damaged = new TinyModel();
        await File.WriteAllBytesAsync(Path.Combine(damaged.Folder, "causal_video_vae", "diffusion_pytorch_model.safetensors"), new byte[100], Cancel);
        var run = await CliRun.OfAsync("generate", "a red ball", "--model", damaged.Folder, "-o", folder.File("x.mp4"));

        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Single(run.Error.Split('\n'), line => line.StartsWith("error: ", StringComparison.Ordinal));
        Assert.DoesNotContain("   at ", run.Error, StringComparison.Ordinal);
        Assert.Empty(folder.Names);
    }
}
