using System.Text.Json;
using PyramidFlow.Cli.Commands;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary>From the folder of a run to a video: <c>--transformer</c>, <c>--vae</c>, <c>--lora</c> and <c>train export</c>.</summary>
public sealed class RunToVideoTests : IDisposable
{
    private readonly OwnData own = new();

    private TemporaryFolder Folder => own.Folder;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => own.Dispose();

    [Theory]
    [InlineData("miniflux")]
    [InlineData("sd3")]
    public async Task A_transformer_makes_the_same_from_its_run_and_from_its_export(string layout)
    {
        var model = own.Model(layout);
        var trained = await TrainAsync("dit", model, "run", "\"variant\": \"384p\"");
        var run = Folder.File("run");
        Assert.Contains("3 items of 64x64; 2 steps are 2.67 epochs; ", trained.Error, StringComparison.Ordinal);
        Assert.Contains($"\npyramidflow generate \"a red ball\" --model {model} --variant 384p --transformer {run}\n", trained.Error, StringComparison.Ordinal);

        var plain = await own.GenerateAsync("plain.png", "--model", model);
        var made = await own.GenerateAsync("made.png", "--model", model, "--transformer", run);
        Assert.NotEqual(plain, made);

        Assert.Equal(Folder.File("mine"), await ExportAsync(run, "mine", "--dtype", "fp32"));
        Assert.Equal(made, await own.GenerateAsync("mine.png", "--model", Folder.File("mine")));
        Assert.Equal(Folder.File("linked"), await ExportAsync(run, "linked", "--dtype", "fp32", "--link", "--model", model));
        Assert.Equal(made, await own.GenerateAsync("linked.png", "--model", Folder.File("linked")));
        var again = await CliRun.OfAsync("train", "export", run, Folder.File("mine"));
        Assert.Equal(ExitCode.Failed, again.Code);
        Assert.Contains("is there and not empty", again.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_remembers_the_run_and_tells_when_it_went_on()
    {
        var model = own.Model("miniflux");
        await TrainAsync("dit", model, "run", "\"seed\": 1");
        var made = await own.GenerateAsync("a.png", "--model", model, "--transformer", Folder.File("run"));
        using (var notes = JsonDocument.Parse((await MediaMetadata.ReadAsync(Folder.File("a.png"), Cancel))["comment"]))
            Assert.Equal("run", notes.RootElement.GetProperty("transformer").GetProperty("run").GetString());

        var like = await LikeAsync("b.png", model);
        Assert.DoesNotContain("warning", like.Error, StringComparison.Ordinal);
        Assert.Equal(made, await own.PixelsAsync("b.png"));

        await TrainAsync("dit", model, "run", "\"seed\": 1", steps: 3);
        Assert.Contains("has other weights now", (await LikeAsync("c.png", model)).Error, StringComparison.Ordinal);
        Assert.NotEqual(made, await own.PixelsAsync("c.png"));

        Directory.Move(Folder.File("run"), Folder.File("moved"));
        (await LikeAsync("d.png", model)).AssertRefused("training run run", "name it with --transformer");
    }

    [Fact]
    public async Task Runs_that_do_not_fit_are_refused_before_weights_are_read()
    {
        var model = own.Model("miniflux");
        await TrainAsync("lora", model, "lora", "\"lora\": { \"rank\": 2, \"targets\": [\"proj_out\"] }");
        await RefusedAsync("it is a run of train lora: use --lora", "--model", model, "--transformer", Folder.File("lora"));
        await RefusedAsync("none does not exist", "--model", model, "--vae", Folder.File("none"));

        await TrainAsync("dit", model, "run", "\"seed\": 1");
        await File.WriteAllTextAsync(Folder.File("run", "diffusion_transformer", "diffusion_pytorch_model.safetensors"), "no weights", Cancel);
        await RefusedAsync("holds a pyramid_flux where", "--model", own.Model("sd3"), "--transformer", Folder.File("run"));

        async Task RefusedAsync(string words, params string[] options)
        {
            var run = await CliRun.OfAsync(["generate", OwnData.Caption, "--frames", "1", "-o", Folder.File("x.png"), .. options]);
            Assert.Equal(ExitCode.Failed, run.Code);
            Assert.Contains(words, run.Error, StringComparison.Ordinal);
            Assert.DoesNotContain("unexpected", run.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_folder_of_a_lora_run_is_a_lora()
    {
        var model = own.Model("miniflux");
        var trained = await TrainAsync("lora", model, "panda", "\"lora\": { \"rank\": 2, \"targets\": [\"proj_out\"] }");
        Assert.Contains($" --lora {Folder.File("panda")}\n", trained.Error, StringComparison.Ordinal);
        var made = await own.GenerateAsync("a.png", "--model", model, "--lora", Folder.File("panda"));
        Assert.Equal(made, await own.GenerateAsync("b.png", "--model", model, "--lora", Folder.File("panda", "lora.safetensors")));
        var export = await CliRun.OfAsync("train", "export", Folder.File("panda"), Folder.File("mine"));
        Assert.Equal(ExitCode.Failed, export.Code);
        Assert.Contains("use --lora", export.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_best_weights_take_the_place_of_the_newest()
    {
        // Steps this large make it worse from step to step.
        const string worse = "\"learning_rate\": 0.5, \"held_out\": 1, \"checkpoint_every\": 1";
        var (model, run) = (own.Model("miniflux"), Folder.File("run"));
        var trained = await TrainAsync("dit", model, "run", worse, steps: 4);
        var best = Folder.File("run", "best");
        Assert.Contains($"step 1 has the least held-out loss, ", trained.Error, StringComparison.Ordinal);
        Assert.Contains($", not the last one: --transformer {best} takes it\n", trained.Error, StringComparison.Ordinal);
        Assert.Contains("2 items of 64x64, 1 held out; ", trained.Error, StringComparison.Ordinal);

        var made = await own.GenerateAsync("best.png", "--model", model, "--transformer", best);
        Assert.NotEqual(await own.GenerateAsync("newest.png", "--model", model, "--transformer", run), made);
        await ExportAsync(run, "flag", "--dtype", "fp32", "--best");
        await ExportAsync(best, "folder", "--dtype", "fp32");
        Assert.Equal(made, await own.GenerateAsync("flag.png", "--model", Folder.File("flag")));
        Assert.Equal(made, await own.GenerateAsync("folder.png", "--model", Folder.File("folder")));

        trained = await TrainAsync("lora", model, "panda", $"{worse}, \"lora\": {{ \"rank\": 2, \"targets\": [\"proj_out\"] }}", steps: 4);
        Assert.Contains($": --lora {Folder.File("panda", "best")} takes it\n", trained.Error, StringComparison.Ordinal);
        Assert.NotEqual(await own.GenerateAsync("a.png", "--model", model, "--lora", Folder.File("panda")), await own.GenerateAsync("b.png", "--model", model, "--lora", Folder.File("panda", "best")));

        Directory.Delete(best, recursive: true);
        (await CliRun.OfAsync("train", "export", run, Folder.File("none"), "--best")).AssertRefused("has kept no best weights");
    }

    [Fact]
    public async Task A_vae_run_takes_the_place_of_the_vae()
    {
        var model = own.Model("miniflux");
        var config = own.VaeConfig(model);
        var trained = await CliRun.OfAsync("train", "vae", "--config", config, "--out", Folder.File("vae"));
        Assert.True(trained.Code == ExitCode.Ok, trained.Error);
        Assert.Contains($" --vae {Folder.File("vae")}\n", trained.Error, StringComparison.Ordinal);

        var made = await own.GenerateAsync("a.png", "--model", model, "--vae", Folder.File("vae"));
        Assert.NotEqual(await own.GenerateAsync("plain.png", "--model", model), made);
        await ExportAsync(Folder.File("vae"), "mine", "--dtype", "fp32");
        Assert.Equal(made, await own.GenerateAsync("b.png", "--model", Folder.File("mine")));
        Assert.Equal(made, await LikePixelsAsync(model));

        async Task<byte[]> LikePixelsAsync(string like)
        {
            var run = await LikeAsync("c.png", like);
            Assert.True(run.Code == ExitCode.Ok, run.Error);
            return await own.PixelsAsync("c.png");
        }
    }

    [Theory]
    [InlineData("a red ball", "pyramidflow generate \"a red ball\"")]
    [InlineData("it's $5 \"new\"", "pyramidflow generate 'it'\\''s $5 \"new\"'")]
    [InlineData("runs/mine", "pyramidflow generate runs/mine")]
    [InlineData("", "pyramidflow generate \"\"")]
    public void A_shell_reads_the_printed_words_as_they_are(string word, string line) => Assert.Equal(line, VideoOfRun.Line("generate", word));

    [Fact]
    public void A_sprites_run_without_a_model_is_exported_first()
    {
        Folder.Write("runs/dit/config.json", """{ "steps": 1 }""");
        Folder.Write("runs/vae/config.json", """{ "steps": 1 }""");
        var (runs, model) = (Folder.File("runs"), Folder.File("runs", "exported"));
        Assert.Equal($"pyramidflow train export {runs} {model} && pyramidflow generate \"a small red circle moving right on a black background\" --model {model}", VideoOfRun.After("dit", runs)[^1]);
        Assert.Contains("train a transformer on its latents", Assert.Single(VideoOfRun.After("vae", runs)), StringComparison.Ordinal);
        Assert.Empty(VideoOfRun.After("lora", Folder.Path));
    }

    [Fact]
    public async Task Plans_know_runs_and_services_do_not_offer_them()
    {
        var model = own.Model("miniflux");
        await TrainAsync("dit", model, "run", "\"seed\": 1");
        Folder.Write("run/pipeline.json", """{ "width": 128, "height": 64, "frames": 9 }""");
        var plan = await CliRun.OfAsync("plan", "--model", model, "--transformer", Folder.File("run"));
        Assert.True(plan.Code == ExitCode.Ok, plan.Error);
        Assert.Contains("128x64", plan.Out, StringComparison.Ordinal);
        foreach (var command in (string[])["serve", "worker"])
            (await CliRun.OfAsync(command, "--transformer", Folder.File("run"))).AssertRefused("unknown option '--transformer'");
        (await CliRun.OfAsync("train", "export", Folder.File("run"), Folder.File("mine"), "--model", "no-such-model")).AssertRefused("no-such-model");
        File.Delete(Folder.File("run", "config.json"));
        (await CliRun.OfAsync("train", "export", Folder.File("run"), Folder.File("mine"))).AssertRefused("does not say which model it began with", "--model");
    }

    private async Task<CliRun> TrainAsync(string part, string model, string run, string addition, int steps = 2)
    {
        var config = own.Config(model, FormattableString.Invariant($"\"learning_rate\": 0.05, \"warm_up_steps\": 0, \"steps\": {steps}, {addition}"), name: $"{run}.json");
        var trained = await CliRun.OfAsync("train", part, "--config", config, "--out", Folder.File(run));
        Assert.True(trained.Code == ExitCode.Ok, trained.Error);
        return trained;
    }

    private async Task<string> ExportAsync(string run, string name, params string[] more)
    {
        var export = await CliRun.OfAsync(["train", "export", run, Folder.File(name), .. more]);
        Assert.True(export.Code == ExitCode.Ok, export.Error);
        return export.Out.Trim();
    }

    private Task<CliRun> LikeAsync(string name, string model) =>
        CliRun.OfAsync("generate", "--like", Folder.File("a.png"), "--model", model, "-o", Folder.File(name));
}
