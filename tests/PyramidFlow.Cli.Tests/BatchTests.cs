using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public class BatchTests(TinyModel model) : IClassFixture<TinyModel>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Every_line_of_a_text_file_becomes_a_file_named_after_its_prompt()
    {
        using var folder = new TemporaryFolder();
        var run = await BatchAsync(folder, "prompts.txt", "\uFEFFa red ball\r\n\r\n   \r\na ball, a red one!\r\n", "--frames", "1");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Equal(["0001-a-red-ball.png", "0002-a-ball-a-red-one.png"], Made(folder));
        Assert.Equal(Made(folder).Select(name => folder.File($"out/{name}")), run.Out.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Contains("2 made of 2", run.Error, StringComparison.Ordinal);
        Assert.Equal("a red ball", (await NotesAsync(folder, "0001-a-red-ball.png")).GetProperty("prompt").GetString());
    }

    [Fact]
    public async Task Keys_of_an_object_name_the_files_and_never_leave_the_folder()
    {
        using var folder = new TemporaryFolder();
        var run = await BatchAsync(folder, "prompts.json", """
            {
              "2024-10-11 12:30:00": "a red ball",
              "../../evil": {"prompt": "a ball", "seed": 3},
              "nul": "a ball",
              "still.png": "a ball"
            }
            """, "--frames", "1");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Equal(["2024-10-11 12-30-00.png", "evil.png", "nul_.png", "still.png"], Made(folder));
        Assert.Equal(3, (await NotesAsync(folder, "evil.png")).GetProperty("seed").GetInt32());
        Assert.Equal(["out", "prompts.json"], folder.Names.Order());
    }

    [Fact]
    public async Task An_item_has_settings_of_its_own_over_those_of_the_line()
    {
        using var folder = new TemporaryFolder();
        var run = await BatchAsync(folder, "prompts.jsonl", """
            {"prompt": "a ball", "size": "128x64", "steps": [2, 1, 1], "video-steps": "1,1,2", "guidance": 2.5, "negative_prompt": "red", "seed": 18446744073709551615}
            "a red ball"
            """, "--frames", "1", "--seed", "7", "--guidance", "1");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        var own = await NotesAsync(folder, "0001-a-ball.png");
        Assert.Equal((128, 64, ulong.MaxValue, 2.5), (own.GetProperty("width").GetInt32(), own.GetProperty("height").GetInt32(), own.GetProperty("seed").GetUInt64(), own.GetProperty("guidance").GetDouble()));
        Assert.Equal("[2,1,1]", own.GetProperty("steps").GetRawText());
        Assert.Equal("[1,1,2]", own.GetProperty("video_steps").GetRawText());
        Assert.Equal("red", own.GetProperty("negative_prompt").GetString());
        var line = await NotesAsync(folder, "0002-a-red-ball.png");
        Assert.Equal((64, 7, 1), (line.GetProperty("width").GetInt32(), line.GetProperty("seed").GetInt32(), line.GetProperty("guidance").GetInt32()));
    }

    [Fact]
    public async Task A_key_that_holds_half_of_a_character_is_named_and_the_rest_goes_on()
    {
        using var folder = new TemporaryFolder();
        var run = await BatchAsync(folder, "prompts.json", "{\"a\": \"a ball\",\n\"c\\ud83d\": \"a ball\"}", "--frames", "1");

        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Equal(["a.png"], Made(folder));
        Assert.Contains("prompts.json line 2: this key holds half of a character", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Any_seed_in_an_item_is_not_the_one_of_the_command_line()
    {
        using var folder = new TemporaryFolder();
        var run = await BatchAsync(folder, "prompts.jsonl", "{\"prompt\": \"a ball\", \"seed\": -1}\n\"a ball\"", "--frames", "1", "--seed", "5", "--json");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        using var made = System.Text.Json.JsonDocument.Parse(run.Out);
        var seeds = made.RootElement.GetProperty("clips").EnumerateArray().Select(clip => clip.GetProperty("seed").GetUInt64()).ToList();
        Assert.NotEqual(5UL, seeds[0]);
        Assert.Equal(5UL, seeds[1]);
    }

    [Fact]
    public async Task Bad_items_are_named_and_the_rest_goes_on()
    {
        using var folder = new TemporaryFolder();
        var run = await BatchAsync(folder, "prompts.jsonl", """
            "a red ball"
            {"prompt": "a ball", "sed": 4}

            not json
            {"prompt": "a ball", "frames": 4}
            {"prompt": "a ball", "seed": -2}
            {"prompt": "a ball", "prompt": "a red ball"}
            {"prompt": "", "seed": 1}
            {"image": "none.jpg"}
            {"prompt": 5}
            ["a ball"]
            {"prompt": "a ball", "width": 64}
            "last"
            "\ud800"
            {"prompt": "a ball", "guidance": "2,5"}
            "a\u0000 ball"
            {"image": "a\u0000.png"}
            {"prompt": "a ball", "frames": "1,000"}
            """, "--frames", "1");

        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Equal(["0001-a-red-ball.png", "0012-last.png"], Made(folder));
        (int Line, string Words)[] faults =
        [
            (2, "unknown key 'sed': did you mean seed?"), (4, "not JSON"), (5, "4 frames"), (6, "seed cannot be -2: use a whole number from 0"),
            (7, "prompt stands twice"), (8, "the prompt is empty"), (9, "none.jpg does not exist: --image takes a picture file"), (10, "prompt cannot be 5"),
            (11, "an item is a text in quotes"), (12, "width needs a height"), (14, "half of a character"), (15, "guidance cannot be 2,5: write 2.5"),
            (16, "NUL"), (17, "image holds a NUL"), (18, "frames cannot be 1,000"),
        ];
        var errors = run.Error.Split('\n').Where(line => line.StartsWith("error: ", StringComparison.Ordinal)).ToArray();
        Assert.Equal(faults.Length, errors.Length);
        Assert.All(faults.Zip(errors), pair =>
        {
            Assert.Contains($"prompts.jsonl line {pair.First.Line}: ", pair.Second, StringComparison.Ordinal);
            Assert.Contains(pair.First.Words, pair.Second, StringComparison.Ordinal);
        });
        Assert.Contains("2 made, 15 failed of 17", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_key_that_stands_twice_is_named_and_the_first_is_made()
    {
        using var folder = new TemporaryFolder();
        var run = await BatchAsync(folder, "prompts.json", "{\"a\": \"a ball\",\n\"b\": \"a ball\",\n\"a\": \"a red ball\"}", "--frames", "1");

        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Equal(["a.png", "b.png"], Made(folder));
        Assert.Contains("prompts.json line 3 ('a'): this key stands above already", run.Error, StringComparison.Ordinal);
        Assert.Equal("a ball", (await NotesAsync(folder, "a.png")).GetProperty("prompt").GetString());
    }

    [Fact]
    public async Task A_key_in_a_message_stays_on_its_line()
    {
        using var folder = new TemporaryFolder();
        var run = await BatchAsync(folder, "prompts.json", "{\"a\\u001b[31m\\nb" + new string('x', 500) + "\": \"\"}");

        Assert.Equal(ExitCode.Failed, run.Code);
        var error = Assert.Single(run.Error.Split('\n'), line => line.StartsWith("error: ", StringComparison.Ordinal));
        Assert.Contains("line 1 ('a [31m bxxx", error, StringComparison.Ordinal);
        Assert.Contains("...'): the prompt is empty", error, StringComparison.Ordinal);
        Assert.Equal(["prompts.json"], folder.Names);
    }

    [Fact]
    public async Task A_second_run_makes_only_what_is_missing_or_was_changed()
    {
        using var folder = new TemporaryFolder();
        const string Before = "[\"a red ball\", {\"prompt\": \"a ball\", \"seed\": 1, \"name\": \"kept\"}, {\"prompt\": \"a ball\", \"seed\": 1, \"name\": \"changed\"}, \"ball\"]";
        await BatchAsync(folder, "prompts.json", Before, "--frames", "9");
        File.Delete(folder.File("out/0004-ball.mp4"));
        var times = Made(folder).ToDictionary(name => name, name => File.GetLastWriteTimeUtc(folder.File($"out/{name}")));
        var run = await BatchAsync(folder, "prompts.json", Before.Replace("1, \"name\": \"changed\"", "2, \"name\": \"changed\"", StringComparison.Ordinal), "--frames", "9", "--json");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        using var json = JsonDocument.Parse(run.Out);
        Assert.Equal(["changed.mp4", "0004-ball.mp4"], json.RootElement.GetProperty("clips").EnumerateArray().Select(clip => Path.GetFileName(clip.GetProperty("file").GetString())));
        Assert.Equal(["0001-a-red-ball.mp4", "kept.mp4"], json.RootElement.GetProperty("made_before").EnumerateArray().Select(file => Path.GetFileName(file.GetString())));
        Assert.All((string[])["0001-a-red-ball.mp4", "kept.mp4"], name => Assert.Equal(times[name], File.GetLastWriteTimeUtc(folder.File($"out/{name}"))));
        Assert.Equal(2, (await NotesAsync(folder, "changed.mp4")).GetProperty("seed").GetInt32());
    }

    [Fact]
    public async Task Several_clips_of_each_prompt_have_seeds_one_after_another()
    {
        using var folder = new TemporaryFolder();
        var run = await BatchAsync(folder, "prompts.txt", "a ball", "--frames", "1", "--count", "2", "--seed", "5");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Equal(["0001-a-ball-1.png", "0001-a-ball-2.png"], Made(folder));
        Assert.Equal(6, (await NotesAsync(folder, "0001-a-ball-2.png")).GetProperty("seed").GetInt32());
    }

    [Fact]
    public async Task A_picture_of_an_item_lies_beside_the_batch_file()
    {
        using var folder = new TemporaryFolder();
        PngWriter.Write(folder.File("photo.png"), new RgbImage(64, 64, new byte[64 * 64 * 3]));
        await File.WriteAllTextAsync(folder.File("text.jpg"), "not a picture", Cancel);
        var run = await BatchAsync(folder, "prompts.jsonl", "{\"image\": \"text.jpg\"}\n{\"image\": \"photo.png\"}");

        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Equal(["0002.mp4"], Made(folder));
        Assert.Contains("line 1: ", run.Error, StringComparison.Ordinal);
        Assert.Contains("text.jpg is not a picture", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("prompts.txt", "", "holds no prompt")]
    [InlineData("prompts.txt", " \r\n\n", "holds no prompt")]
    [InlineData("prompts.json", "", "holds no prompt")]
    [InlineData("prompts.json", "[]", "holds no prompt")]
    [InlineData("prompts.json", "5", "write a list of prompts")]
    [InlineData("prompts.json", "[\"a\",\n\"b\"", "is not JSON: line 2")]
    [InlineData("prompts.json", "[\"a\"\n\"b\"]", "is not JSON: line 2")]
    [InlineData("prompts.json", "[\"a\"] x", "is not JSON: line 1")]
    [InlineData("prompts.csv", "a ball", "name it .txt")]
    public async Task A_file_that_is_no_batch_is_refused(string name, string text, string words)
    {
        using var folder = new TemporaryFolder();
        (await BatchAsync(folder, name, text)).AssertRefused(name, words);
    }

    [Fact]
    public async Task Text_that_is_not_UTF_8_is_refused_or_named()
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllBytesAsync(folder.File("utf16.txt"), System.Text.Encoding.Unicode.GetPreamble().Concat(System.Text.Encoding.Unicode.GetBytes("a ball")).ToArray(), Cancel);
        (await RunAsync(folder, "utf16.txt")).AssertRefused("is not UTF-8 text: save it as UTF-8");
        await File.WriteAllBytesAsync(folder.File("latin.txt"), [.. "a ball\ncaf"u8, 0xE9, .. "\n"u8], Cancel);
        var run = await RunAsync(folder, "latin.txt", "--frames", "1");

        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Equal(["0001-a-ball.png"], Made(folder));
        Assert.Contains("latin.txt line 2: this is not UTF-8 text", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_does_not_go_together_is_refused()
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(folder.File("prompts.txt"), "a ball", Cancel);
        var batch = folder.File("prompts.txt");
        (await CliRun.OfAsync("generate", "--batch", batch)).AssertRefused("name a folder", "-o");
        (await CliRun.OfAsync("generate", "a ball", "--batch", batch, "-o", folder.File("out"))).AssertRefused("the prompts are in the --batch file");
        (await CliRun.OfAsync("generate", "--like", batch, "--batch", batch, "-o", folder.File("out"))).AssertRefused("use one of them");
        (await CliRun.OfAsync("generate", "--batch", batch, "-o", batch)).AssertRefused("is the name of one file");
        (await CliRun.OfAsync("generate", "--batch", batch, "-o", folder.File("out.mp4"))).AssertRefused("is the name of one file");
        (await CliRun.OfAsync("generate", "--batch", folder.File("none.txt"), "-o", "/proc/self/out")).AssertRefused("none.txt does not exist");
    }

    private static string[] Made(TemporaryFolder folder) =>
        [.. Directory.EnumerateFileSystemEntries(folder.File("out")).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    private static async Task<JsonElement> NotesAsync(TemporaryFolder folder, string name)
    {
        var metadata = await MediaMetadata.ReadAsync(folder.File($"out/{name}"), Cancel);
        using var json = JsonDocument.Parse(metadata["comment"]);
        return json.RootElement.Clone();
    }

    private async Task<CliRun> BatchAsync(TemporaryFolder folder, string name, string text, params string[] more)
    {
        await File.WriteAllTextAsync(folder.File(name), text, Cancel);
        return await RunAsync(folder, name, more);
    }

    private Task<CliRun> RunAsync(TemporaryFolder folder, string name, params string[] more) =>
        CliRun.OfAsync(["generate", "--batch", folder.File(name), "-o", folder.File("out"), "--model", model.Folder, .. more]);
}
