using PyramidFlow.Cli.Terminal;
using PyramidFlow.Models;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public class GenerateChecksTests(TinyModel model) : IClassFixture<TinyModel>
{
    private const string Prompt = "a red ball";

    [Theory]
    [InlineData("")]
    [InlineData("  ")]
    public async Task Empty_prompt_is_refused(string prompt) =>
        (await GenerateAsync(prompt)).AssertRefused("the prompt is empty");

    [Fact]
    public async Task Missing_prompt_is_refused() => (await CliRun.OfAsync("generate")).AssertRefused("the prompt is empty");

    [Theory]
    [InlineData("400x64", "width 400 is not a multiple of 64: use 384 or 448")]
    [InlineData("64x100", "height 100 is not a multiple of 64: use 64 or 128")]
    public async Task Size_that_is_no_multiple_is_refused_with_the_nearest(string size, string words) =>
        (await GenerateAsync(Prompt, "--size", size)).AssertRefused(words);

    [Fact]
    public async Task Impossible_frames_are_refused_with_the_nearest() =>
        (await GenerateAsync(Prompt, "--frames", "10")).AssertRefused("10 frames", "use 9 or 17");

    [Fact]
    public async Task Steps_of_another_number_of_stages_are_refused() =>
        (await GenerateAsync(Prompt, "--steps", "5,5")).AssertRefused("steps", "3 stages");

    [Theory]
    [InlineData("--reuse-prefix", "0", "--reuse-prefix cannot be 0: use a whole number from 1")]
    [InlineData("--guidance-every", "half", "--guidance-every cannot be half: use a whole number from 1")]
    [InlineData("--guidance-every", "1001", "--guidance-every cannot be 1001: use a whole number from 1 to 1000")]
    [InlineData("--solver", "rk9", "--solver cannot be rk9: use euler, heun, second-order or uniform")]
    public async Task Impossible_approximations_are_refused(string option, string value, string words) =>
        (await GenerateAsync(Prompt, option, value)).AssertRefused(words);

    [Fact]
    public async Task A_distilled_model_needs_no_options_and_takes_no_guidance()
    {
        using var folder = new TemporaryFolder();
        foreach (var file in Directory.EnumerateFiles(model.Folder, "*", SearchOption.AllDirectories))
            File.Copy(file, folder.File("model", Path.GetRelativePath(model.Folder, file)));
        var (student, settings) = (folder.File("model"), folder.File("model", PipelineSettings.FileName));
        var own = PipelineSettings.Read(settings, PipelineSettings.Released(ModelFamilies.Flux, ""));
        (own with { Steps = [2, 2, 2], VideoSteps = [2, 2, 2], Distilled = new DistilledSettings(3, 3, 2) }).Write(settings);
        string[] plan = ["plan", "--model", student, "--frames", "9", "--json", "--speed", "1"];
        var planned = await CliRun.OfAsync(plan);
        Assert.True(planned.Code == ExitCode.Ok, planned.Error);
        Assert.Equal(Flops(planned), Flops(await CliRun.OfAsync([.. plan, "--steps", "2", "--video-steps", "2", "--guidance", "0", "--solver", "uniform"])));
        (await CliRun.OfAsync("generate", Prompt, "--model", student, "--video-guidance", "4")).AssertRefused("distilled with guidance 3 in its weights, leave guidance out");

        static string Flops(CliRun run) => System.Text.Json.JsonElement.Parse(run.Out).GetProperty("flops").GetRawText();
    }

    [Fact]
    public async Task Frames_and_seconds_together_are_refused() =>
        (await GenerateAsync(Prompt, "--frames", "9", "--seconds", "1")).AssertRefused("use one of them");

    [Fact]
    public async Task Seconds_beyond_reason_are_refused() =>
        (await GenerateAsync(Prompt, "--seconds", "1e12")).AssertRefused("longer than any video");

    [Fact]
    public async Task Unknown_model_is_refused() =>
        (await CliRun.OfAsync("generate", Prompt, "--model", "no-such-model")).AssertRefused("unknown model 'no-such-model'");

    [Fact]
    public async Task A_released_model_that_is_not_here_is_refused_with_the_way_to_get_it() =>
        (await CliRun.OfAsync("generate", Prompt, "--model", "./pyramid-flow-sd3")).AssertRefused("is not here yet: run pyramidflow models download pyramid-flow-sd3");

    [Fact]
    public async Task Folder_that_is_no_checkpoint_is_refused()
    {
        using var folder = new TemporaryFolder();
        (await CliRun.OfAsync("generate", Prompt, "--model", folder.Path)).AssertRefused("is not a checkpoint folder");
    }

    [Fact]
    public async Task Unknown_variant_is_refused() =>
        (await GenerateAsync(Prompt, "--variant", "768p")).AssertRefused("no variant '768p': use 384p");

    [Fact]
    public async Task Unknown_device_is_refused() =>
        (await GenerateAsync(Prompt, "--device", "tpu")).AssertRefused("unknown device 'tpu': use cpu, cuda or cuda:N");

    [Theory]
    [InlineData("clip.avi", ".avi is not a kind of file this makes")]
    [InlineData("clip", "it has no extension")]
    [InlineData("clip.mp4.txt", ".txt")]
    public async Task Unknown_extension_is_refused(string name, string words)
    {
        using var folder = new TemporaryFolder();
        (await CliRun.OfAsync("generate", Prompt, "-o", folder.File(name))).AssertRefused(words, ".mp4, .gif or .png");
    }

    [Fact]
    public async Task Missing_output_folder_is_refused_with_the_command_that_makes_it()
    {
        using var folder = new TemporaryFolder();
        (await CliRun.OfAsync("generate", Prompt, "-o", Path.Combine(folder.Path, "not", "there.mp4"))).AssertRefused("does not exist", "mkdir -p");
    }

    [Fact]
    public async Task Folder_that_cannot_be_written_is_refused()
    {
        Assert.SkipUnless(Directory.Exists("/proc/self"), "needs a folder that nobody can write");
        (await CliRun.OfAsync("generate", Prompt, "-o", "/proc/self/out.mp4")).AssertRefused("cannot be written to");
    }

    [Fact]
    public async Task Output_that_is_a_folder_is_refused()
    {
        using var folder = new TemporaryFolder();
        (await CliRun.OfAsync("generate", Prompt, "-o", folder.Path)).AssertRefused("is a folder");
    }

    [Fact]
    public async Task Picture_of_many_frames_is_refused()
    {
        using var folder = new TemporaryFolder();
        (await CliRun.OfAsync("generate", Prompt, "--model", model.Folder, "--frames", "9", "-o", folder.File("x.png")))
            .AssertRefused("one picture", "--frames 1");
    }

    [Fact]
    public async Task Missing_image_is_refused() =>
        (await GenerateAsync(Prompt, "--image", "no-such.jpg")).AssertRefused("no-such.jpg does not exist");

    [Fact]
    public async Task Damaged_image_fails_and_leaves_nothing()
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(folder.File("photo.jpg"), "not a picture", TestContext.Current.CancellationToken);
        var run = await CliRun.OfAsync("generate", Prompt, "--model", model.Folder, "--image", folder.File("photo.jpg"), "-o", folder.File("x.mp4"));

        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Contains("photo.jpg is not a picture", run.Error, StringComparison.Ordinal);
        Assert.Equal(["photo.jpg"], folder.Names);
    }

    private async Task<CliRun> GenerateAsync(string prompt, params string[] more)
    {
        using var folder = new TemporaryFolder();
        var run = await CliRun.OfAsync(["generate", prompt, "--model", model.Folder, "-o", folder.File("x.mp4"), .. more]);
        Assert.Empty(folder.Names);
        return run;
    }
}
