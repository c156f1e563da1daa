using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Hub;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public sealed class LikeTests(TinyModel model) : IClassFixture<TinyModel>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("a.mp4", "b.mp4")]
    [InlineData("a.png", "b.png")]
    [InlineData("a.gif", "b.gif")]
    public async Task A_file_is_made_again_from_what_it_says_about_itself(string first, string second)
    {
        using var folder = new TemporaryFolder();
        var one = await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "-o", folder.File(first), "--steps", "2,1,1", "--guidance", "3",
            "--video-guidance", "2", "--linear-guidance", "0.25,1", "--negative", "«blue»\n\"cube\"", "--suffix", ", red", "--size", "128x64", "--dtype", "bf16");
        var two = await CliRun.OfAsync("generate", "--like", folder.File(first), "--model", model.Folder, "-o", folder.File(second));

        Assert.True(one.Code == ExitCode.Ok, one.Error);
        Assert.True(two.Code == ExitCode.Ok, two.Error);
        Assert.Equal((await MediaMetadata.ReadAsync(folder.File(first), Cancel))["comment"], (await MediaMetadata.ReadAsync(folder.File(second), Cancel))["comment"]);
        Assert.Equal(await File.ReadAllBytesAsync(folder.File(first), Cancel), await File.ReadAllBytesAsync(folder.File(second), Cancel));
    }

    [Fact]
    public async Task Every_setting_with_an_option_goes_from_the_command_line_into_the_file_and_through_like()
    {
        using var folder = new TemporaryFolder();
        var typed = new Dictionary<string, string>
        {
            ["frames"] = "17", ["size"] = "128x64", ["fps"] = "12.5", ["seed"] = "18446744073709551615", ["negative_prompt"] = "", ["prompt_suffix"] = ", red", ["guidance"] = "3.5",
            ["video_guidance"] = "2", ["linear_guidance"] = "0.25,1.5", ["steps"] = "2,1,1", ["video_steps"] = "1,2,1", ["frames_per_unit"] = "2", ["history"] = "3",
            ["sample_image"] = "true", ["reuse_prefix"] = "2", ["guidance_every"] = "2", ["solver"] = "second-order",
        };
        // A length in seconds says the same as the number of frames.
        var settings = SettingsTable.All.Where(setting => setting.Option is not null && setting.Name != "seconds").ToList();
        Assert.Equal(typed.Keys.Order(), settings.Select(setting => setting.Name).Order());
        string[] options = [.. settings.SelectMany(setting => setting.Type.IsFlag ? [setting.Option!] : new[] { setting.Option!, typed[setting.Name] })];
        var one = await CliRun.OfAsync(["generate", "a red ball", "--model", model.Folder, "-o", folder.File("a.mp4"), .. options]);
        var two = await CliRun.OfAsync("generate", "--like", folder.File("a.mp4"), "--model", model.Folder, "-o", folder.File("b.mp4"));

        Assert.All([one, two], run => Assert.True(run.Code == ExitCode.Ok, run.Error));
        var (first, second) = (await NotesAsync("a.mp4"), await NotesAsync("b.mp4"));
        Assert.All(settings, setting => Assert.Equal(typed[setting.Name], setting.Text(first)));
        Assert.All(SettingsTable.All, setting => Assert.True(setting.IsSame(first, second), $"{setting} was lost"));
        Assert.Equal(await File.ReadAllBytesAsync(folder.File("a.mp4"), Cancel), await File.ReadAllBytesAsync(folder.File("b.mp4"), Cancel));

        async Task<GenerationOptions> NotesAsync(string file) => GenerationNotes.Read(await MediaMetadata.ReadAsync(folder.File(file), Cancel))!.Options;
    }

    [Fact]
    public async Task Approximations_are_noted_and_made_again_and_exact_files_say_nothing_of_them()
    {
        using var folder = new TemporaryFolder();
        string[] clip = ["a small red circle", "--seed", "4", "--frames", "9", "--steps", "3,3,3", "--video-steps", "3,3,3"];
        var exact = await CliRun.OfAsync(["generate", .. clip, "-o", folder.File("exact.mp4"), "--reuse-prefix", "1", "--guidance-every", "1", "--solver", "euler"]);
        var one = await CliRun.OfAsync(["generate", .. clip, "-o", folder.File("a.mp4"), "--reuse-prefix", "3", "--guidance-every", "2", "--solver", "second-order"]);
        var two = await CliRun.OfAsync("generate", "--like", folder.File("a.mp4"), "-o", folder.File("b.mp4"));
        var off = await CliRun.OfAsync("generate", "--like", folder.File("a.mp4"), "-o", folder.File("c.mp4"),
            "--reuse-prefix", "1", "--guidance-every", "1", "--solver", "euler");

        Assert.All([exact, one, two, off], run => Assert.True(run.Code == ExitCode.Ok, run.Error));
        Assert.Equal(await File.ReadAllBytesAsync(folder.File("a.mp4"), Cancel), await File.ReadAllBytesAsync(folder.File("b.mp4"), Cancel));
        Assert.NotEqual(await File.ReadAllBytesAsync(folder.File("a.mp4"), Cancel), await File.ReadAllBytesAsync(folder.File("exact.mp4"), Cancel));
        Assert.Equal(await File.ReadAllBytesAsync(folder.File("exact.mp4"), Cancel), await File.ReadAllBytesAsync(folder.File("c.mp4"), Cancel));
        var notes = (await MediaMetadata.ReadAsync(folder.File("a.mp4"), Cancel))["comment"];
        Assert.Contains("\"reuse_prefix\":3,\"guidance_every\":2,\"solver\":\"second-order\"", notes, StringComparison.Ordinal);
        notes = (await MediaMetadata.ReadAsync(folder.File("exact.mp4"), Cancel))["comment"];
        Assert.All(["reuse_prefix", "guidance_every", "solver"], key => Assert.DoesNotContain(key, notes, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Tiles_that_a_budget_chose_are_noted_and_need_no_budget_again()
    {
        using var folder = new TemporaryFolder();
        string[] clip = ["--model", model.Folder, "--size", "512x512", "--frames", "1"];
        var plan = await CliRun.OfAsync(["plan", .. clip, "--tile", "384", "--speed", "1", "--json"]);
        using var planned = JsonDocument.Parse(plan.Out);
        var bytes = planned.RootElement.GetProperty("memory").GetProperty("none").GetProperty("peak").GetInt64();
        var budget = FormattableString.Invariant($"{bytes / 1e6:F6}MB");
        var one = await CliRun.OfAsync(["generate", "a red ball", .. clip, "--max-memory", budget, "-o", folder.File("a.png")]);
        var two = await CliRun.OfAsync("generate", "--like", folder.File("a.png"), "--model", model.Folder, "-o", folder.File("b.png"));

        Assert.True(one.Code == ExitCode.Ok, one.Error);
        Assert.True(two.Code == ExitCode.Ok, two.Error);
        using var notes = JsonDocument.Parse((await MediaMetadata.ReadAsync(folder.File("b.png"), Cancel))["comment"]);
        Assert.Equal(384, notes.RootElement.GetProperty("tile").GetInt32());
        Assert.Equal(await File.ReadAllBytesAsync(folder.File("a.png"), Cancel), await File.ReadAllBytesAsync(folder.File("b.png"), Cancel));
    }

    [Fact]
    public async Task What_is_typed_goes_before_what_the_file_says()
    {
        using var folder = new TemporaryFolder();
        await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "-o", folder.File("a.png"), "--seed", "4");
        var run = await CliRun.OfAsync("generate", "a ball", "--like", folder.File("a.png"), "--model", model.Folder, "--seconds", "0.4", "--count", "2", "-o", folder.File("b.mp4"));

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        using var notes = JsonDocument.Parse((await MediaMetadata.ReadAsync(folder.File("b-2.mp4"), Cancel))["comment"]);
        Assert.Equal("a ball", notes.RootElement.GetProperty("prompt").GetString());
        Assert.Equal(9, notes.RootElement.GetProperty("frames").GetInt32());
        Assert.Equal(5, notes.RootElement.GetProperty("seed").GetInt32());
    }

    [Fact]
    public async Task The_picture_it_began_with_is_looked_for_beside_it_and_known_again()
    {
        using var folder = new TemporaryFolder();
        PngWriter.Write(folder.File("photo.png"), new RgbImage(64, 64, new byte[64 * 64 * 3]));
        await CliRun.OfAsync("generate", "--image", folder.File("photo.png"), "--model", model.Folder, "-o", folder.File("a.mp4"), "--sample-image");
        var same = await CliRun.OfAsync("generate", "--like", folder.File("a.mp4"), "--model", model.Folder, "-o", folder.File("b.mp4"));
        PngWriter.Write(folder.File("photo.png"), new RgbImage(64, 128, new byte[64 * 128 * 3]));
        var other = await CliRun.OfAsync("generate", "--like", folder.File("a.mp4"), "--model", model.Folder, "-o", folder.File("c.mp4"));
        File.Delete(folder.File("photo.png"));
        var none = await CliRun.OfAsync("generate", "--like", folder.File("a.mp4"), "--model", model.Folder, "-o", folder.File("d.mp4"));

        Assert.True(same.Code == ExitCode.Ok, same.Error);
        Assert.Equal(await File.ReadAllBytesAsync(folder.File("a.mp4"), Cancel), await File.ReadAllBytesAsync(folder.File("b.mp4"), Cancel));
        Assert.DoesNotContain("warning", same.Error, StringComparison.Ordinal);
        Assert.Contains("is another picture", other.Error, StringComparison.Ordinal);
        none.AssertRefused("photo.png", "name it with --image");
    }

    [Fact]
    public async Task What_a_file_says_leads_out_of_no_folder()
    {
        using var folder = new TemporaryFolder();
        PngWriter.Write(folder.File("evil.png"), new RgbImage(8, 8, new byte[8 * 8 * 3]), new Dictionary<string, string>
        {
            ["comment"] = """{"program":"pyramidflow","prompt":"a ball","model":"x","variant":"","seed":1,"image":"/etc/hostname"}""",
        });
        (await CliRun.OfAsync("generate", "--like", folder.File("evil.png"), "--model", model.Folder, "-o", folder.File("b.png")))
            .AssertRefused("the picture hostname, which is neither here nor beside it");
    }

    [Theory]
    [InlineData("\"prompts\":[null]", "prompts cannot be [null]")]
    [InlineData("\"prompts\":[{\"from\":1}]", "prompts cannot be")]
    [InlineData("\"steps\":[1,null]", "steps cannot be [1,null]")]
    [InlineData("\"loras\":[null]", "loras[0] is null")]
    [InlineData("\"loras\":[{\"file\":null,\"weight\":1,\"sha256\":null}]", "file")]
    [InlineData("\"guidance\":\"7,5\"", "guidance cannot be")]
    [InlineData("\"seed\":null", "seed is null")]
    public async Task Damaged_notes_are_named(string member, string words)
    {
        using var folder = new TemporaryFolder();
        PngWriter.Write(folder.File("a.png"), new RgbImage(8, 8, new byte[8 * 8 * 3]), new Dictionary<string, string>
        {
            ["comment"] = $$"""{"program":"pyramidflow","prompt":"a ball","model":"x","variant":"",{{member}}}""",
        });
        var run = await CliRun.OfAsync("generate", "--like", folder.File("a.png"), "--model", model.Folder, "-o", folder.File("b.png"));

        run.AssertRefused("a.png says about itself is damaged", words);
        Assert.DoesNotContain("System.", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_number_of_threads_is_kept_or_a_warning_says_that_it_is_another()
    {
        using var folder = new TemporaryFolder();
        string[] more = ["--model", model.Folder, "--frames", "1"];
        await CliRun.OfAsync(["generate", "a red ball", .. more, "--threads", "1", "-o", folder.File("a.png")]);
        var kept = await CliRun.OfAsync(["generate", "--like", folder.File("a.png"), .. more, "-o", folder.File("b.png")]);
        var other = await CliRun.OfAsync(["generate", "--like", folder.File("a.png"), .. more, "--threads", "2", "-o", folder.File("c.png")]);
        var many = GenerationNotes.Read(await MediaMetadata.ReadAsync(folder.File("a.png"), Cancel))! with { Threads = 10_000 };
        PngWriter.Write(folder.File("many.png"), new RgbImage(64, 64, new byte[64 * 64 * 3]), many.Metadata());
        var here = await CliRun.OfAsync(["generate", "--like", folder.File("many.png"), .. more, "-o", folder.File("d.png")]);

        Assert.All([kept, other, here], run => Assert.True(run.Code == ExitCode.Ok, run.Error));
        Assert.DoesNotContain("warning", kept.Error, StringComparison.Ordinal);
        Assert.Equal(1, GenerationNotes.Read(await MediaMetadata.ReadAsync(folder.File("b.png"), Cancel))!.Threads);
        Assert.Contains("a.png was made with 1 thread and is made with 2 now, so the result may differ a little", other.Error, StringComparison.Ordinal);
        Assert.Contains("was made with 10000 threads", here.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_model_is_found_by_the_name_in_the_file()
    {
        using var folder = new TemporaryFolder();
        await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "-o", folder.File("a.png"));
        (await CliRun.OfAsync("generate", "--like", folder.File("a.png"), "-o", folder.File("b.png")))
            .AssertRefused("was made by the model", "--model", ModelCatalog.Variable);
    }

    [Fact]
    public async Task A_file_that_says_nothing_is_refused()
    {
        using var folder = new TemporaryFolder();
        PngWriter.Write(folder.File("bare.png"), new RgbImage(8, 8, new byte[8 * 8 * 3]));
        PngWriter.Write(folder.File("other.png"), new RgbImage(8, 8, new byte[8 * 8 * 3]), new Dictionary<string, string> { ["comment"] = "holiday" });
        await File.WriteAllTextAsync(folder.File("text.mp4"), "no video", Cancel);
        (await LikeAsync("bare.png")).AssertRefused("bare.png does not say how it was made");
        (await LikeAsync("other.png")).AssertRefused("other.png does not say how it was made");
        (await LikeAsync("none.mp4")).AssertRefused("none.mp4 does not exist");
        Assert.Contains("text.mp4 is not a video", (await LikeAsync("text.mp4")).Error, StringComparison.Ordinal);

        Task<CliRun> LikeAsync(string name) => CliRun.OfAsync("generate", "--like", folder.File(name), "--model", model.Folder, "-o", folder.File("out.mp4"));
    }
}
