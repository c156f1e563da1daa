using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public class GenerateModesTests(TinyModel model) : IClassFixture<TinyModel>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("""{"0": "a red ball", "0.7": "a ball"}""")]
    [InlineData("""[{"from": 0, "prompt": "a red ball"}, {"from": 0.7, "prompt": "a ball"},]""")]
    public async Task A_story_says_which_prompt_holds_when_and_is_kept_in_the_file(string story)
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(folder.File("story.json"), story, Cancel);
        var told = await GenerateAsync(folder, "told.mp4", "--prompts", folder.File("story.json"), "--frames", "33", "--seed", "1", "--save-latents", folder.File("told.safetensors"));
        var like = await GenerateAsync(folder, "like.mp4", "--like", folder.File("told.mp4"));

        Assert.All((CliRun[])[told, like], run => Assert.True(run.Code == ExitCode.Ok, run.Error));
        using var notes = JsonDocument.Parse((await MediaMetadata.ReadAsync(folder.File("told.mp4"), Cancel))["comment"]);
        Assert.Equal("a red ball", notes.RootElement.GetProperty("prompt").GetString());
        Assert.Equal("""[{"from":0.7,"prompt":"a ball"}]""", notes.RootElement.GetProperty("prompts").GetRawText());
        using var made = JsonDocument.Parse(LatentFile.ReadMetadata(folder.File("told.safetensors"))["settings"]);
        Assert.Equal("a red ball", made.RootElement.GetProperty("prompt").GetString());
        Assert.Equal("""[{"from":0.7,"prompt":"a ball"}]""", made.RootElement.GetProperty("prompts").GetRawText());
        Assert.Equal(await File.ReadAllBytesAsync(folder.File("told.mp4"), Cancel), await File.ReadAllBytesAsync(folder.File("like.mp4"), Cancel));
    }

    [Theory]
    [InlineData("", "is not JSON")]
    [InlineData("5", "write {")]
    [InlineData("[]", "there is no prompt")]
    [InlineData("""{"soon": "a ball"}""", "cannot begin at 'soon'")]
    [InlineData("""{"-1": "a ball"}""", "cannot begin at '-1'")]
    [InlineData("""{"0": 5}""", "write a text in quotes")]
    [InlineData("""[{"from": 0, "prompt": "a ball", "seed": 3}]""", "write {")]
    [InlineData("""{"1": "a ball"}""", "says nothing about second 0")]
    [InlineData("""{"0": "a ball", "0.3": "a ball", "0.2": "a red ball"}""", "put them in order")]
    [InlineData("""{"0": "a ball", "0": "a red ball"}""", "put them in order")]
    [InlineData("""{"0": "a ball", "0,5": "a red ball"}""", "cannot begin at '0,5': write 0.5")]
    [InlineData("""{"0": "a ball", "1": "cut \ud83d"}""", "story.json line 1: 1: this holds half of a character")]
    [InlineData("""[{"from": 0, "prompt": "\udc00\ud800"}, false]""", "half of a character")]
    [InlineData("""{"0": "a \u0000 ball"}""", "NUL")]
    [InlineData("""{"0": "a ball", "60": "a red ball"}""", "comes too late")]
    [InlineData("""{"0": "a ball", "0.3": ""}""", "is empty")]
    public async Task A_story_that_cannot_be_told_is_refused(string story, string words)
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(folder.File("story.json"), story, Cancel);
        (await GenerateAsync(folder, "x.mp4", "--prompts", folder.File("story.json"), "--frames", "25")).AssertRefused(words);
        Assert.Equal(["story.json"], folder.Names);
    }

    [Fact]
    public async Task Latents_are_saved_and_gone_on_from()
    {
        using var folder = new TemporaryFolder();
        var first = await GenerateAsync(folder, "first.mp4", "a red ball", "--frames", "17", "--save-latents", folder.File("first.safetensors"));
        var second = await GenerateAsync(folder, "second.mp4", "a ball", "--from-latents", folder.File("first.safetensors"), "--frames", "8");

        Assert.True(first.Code == ExitCode.Ok, first.Error);
        Assert.True(second.Code == ExitCode.Ok, second.Error);
        Assert.Equal(3, LatentFile.Read(folder.File("first.safetensors")).Frames);
        Assert.Contains("a red ball", LatentFile.ReadMetadata(folder.File("first.safetensors"))["comment"], StringComparison.Ordinal);
        var (before, after) = (await FramesAsync(folder.File("first.mp4")), await FramesAsync(folder.File("second.mp4")));
        Assert.Equal((17, 25), (before.Count, after.Count));
        await File.WriteAllTextAsync(folder.File("text.safetensors"), "no latents", Cancel);
        var wrong = await GenerateAsync(folder, "third.mp4", "a ball", "--from-latents", folder.File("text.safetensors"));
        Assert.Equal(ExitCode.Failed, wrong.Code);
        Assert.Contains("text.safetensors", wrong.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_video_goes_to_standard_output_while_it_is_made()
    {
        using var folder = new TemporaryFolder();
        var run = await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "-o", "-", "--frames", "25");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Empty(run.Out);
        await File.WriteAllBytesAsync(folder.File("piped.mp4"), run.Bytes, Cancel);
        Assert.Equal(25, (await FramesAsync(folder.File("piped.mp4"))).Count);
        Assert.Equal(4, run.Bytes.AsSpan().Count("moof"u8));
        Assert.Contains("\"prompt\":\"a red ball\"", (await MediaMetadata.ReadAsync(folder.File("piped.mp4"), Cancel))["comment"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_streamed_file_can_be_watched_before_it_is_complete()
    {
        using var folder = new TemporaryFolder();
        var run = await GenerateAsync(folder, "x.mp4", "a red ball", "--frames", "17", "--stream");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Equal(3, (await File.ReadAllBytesAsync(folder.File("x.mp4"), Cancel)).AsSpan().Count("moof"u8));
    }

    [Fact]
    public async Task Several_clips_are_numbered_and_told_of_in_one_JSON_object()
    {
        using var folder = new TemporaryFolder();
        var run = await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "-o", folder.Path, "--frames", "1", "--count", "2", "--seed", "8", "--json");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Equal(["out-1.png", "out-2.png"], folder.Names.Order());
        using var json = JsonDocument.Parse(run.Out);
        Assert.Equal([8, 9], json.RootElement.GetProperty("clips").EnumerateArray().Select(clip => clip.GetProperty("seed").GetInt32()));
        Assert.Equal(folder.File("out-2.png"), json.RootElement.GetProperty("clips")[1].GetProperty("file").GetString());
    }

    [Fact]
    public async Task Sizes_and_lengths_beyond_the_training_are_warned_of()
    {
        using var folder = new TemporaryFolder();
        var run = await GenerateAsync(folder, "x.mp4", "a red ball", "--size", "64x128", "--frames", "137");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Contains("warning: this checkpoint was trained on 64x64", run.Error, StringComparison.Ordinal);
        Assert.Contains("warning: the clip is longer", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tiles_and_several_latent_frames_at_once_make_a_video()
    {
        using var folder = new TemporaryFolder();
        var run = await GenerateAsync(folder, "x.mp4", "a red ball", "--tile", "32", "--tile-overlap", "0.5", "--frames-per-unit", "2", "--frames", "33", "--linear-guidance", "--guidance", "3");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        using var notes = JsonDocument.Parse((await MediaMetadata.ReadAsync(folder.File("x.mp4"), Cancel))["comment"]);
        Assert.Equal((32, 0.5, 2, "[0.5,2]"), (notes.RootElement.GetProperty("tile").GetInt32(), notes.RootElement.GetProperty("tile_overlap").GetDouble(),
            notes.RootElement.GetProperty("frames_per_unit").GetInt32(), notes.RootElement.GetProperty("linear_guidance").GetRawText()));
    }

    [Fact]
    public async Task A_terminal_is_not_filled_with_a_video()
    {
        using var error = new StringWriter();
        var code = await CommandLine.RunAsync(["generate", "a red ball", "-o", "-"], new CliConsole(TextWriter.Null, error), Cancel);

        Assert.Equal(ExitCode.WrongUsage, code);
        Assert.Contains("pipe it to a player", error.ToString(), StringComparison.Ordinal);
    }

    private static async Task<List<string>> FramesAsync(string path)
    {
        var frames = new List<string>();
        await foreach (var chunk in VideoReader.ReadAsync(path, new VideoReadOptions { FramesPerChunk = 1 }, Cancel))
            frames.Add(Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(chunk.Rgb.Span)));
        return frames;
    }

    private Task<CliRun> GenerateAsync(TemporaryFolder folder, string output, params string[] more) =>
        CliRun.OfAsync(["generate", "--model", model.Folder, "-o", folder.File(output), .. more]);
}
