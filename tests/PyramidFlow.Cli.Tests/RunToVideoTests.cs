using System.Text.Json;
using PyramidFlow.Cli.Commands;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary>From the folder of a run to a video: <c>--transformer</c>, <c>--vae</c>, <c>--lora</c> and <c>train export</c>.</summary>
public sealed class RunToVideoTests : IDisposable
{
    private const string Caption = "a red ball";

    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("miniflux")]
    [InlineData("sd3")]
    public async Task A_transformer_makes_the_same_from_its_run_and_from_its_export(string layout)
    {
        var model = Model(layout);
        var trained = await TrainAsync("dit", model, "run", "\"variant\": \"384p\"");
        var run = folder.File("run");
        Assert.Contains("3 items of 64x64; 2 steps are 2.67 epochs; ", trained.Error, StringComparison.Ordinal);
        Assert.Contains($"\npyramidflow generate \"a red ball\" --model {model} --variant 384p --transformer {run}\n", trained.Error, StringComparison.Ordinal);

        var plain = await GenerateAsync("plain.png", "--model", model);
        var made = await GenerateAsync("made.png", "--model", model, "--transformer", run);
        Assert.NotEqual(plain, made);

        Assert.Equal(folder.File("mine"), await ExportAsync(run, "mine", "--dtype", "fp32"));
        Assert.Equal(made, await GenerateAsync("mine.png", "--model", folder.File("mine")));
        Assert.Equal(folder.File("linked"), await ExportAsync(run, "linked", "--dtype", "fp32", "--link", "--model", model));
        Assert.Equal(made, await GenerateAsync("linked.png", "--model", folder.File("linked")));
        var again = await CliRun.OfAsync("train", "export", run, folder.File("mine"));
        Assert.Equal(ExitCode.Failed, again.Code);
        Assert.Contains("is there and not empty", again.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_remembers_the_run_and_tells_when_it_went_on()
    {
        var model = Model("miniflux");
        await TrainAsync("dit", model, "run", "\"seed\": 1");
        var made = await GenerateAsync("a.png", "--model", model, "--transformer", folder.File("run"));
        using (var notes = JsonDocument.Parse((await MediaMetadata.ReadAsync(folder.File("a.png"), Cancel))["comment"]))
            Assert.Equal("run", notes.RootElement.GetProperty("transformer").GetProperty("run").GetString());

        var like = await LikeAsync("b.png", model);
        Assert.DoesNotContain("warning", like.Error, StringComparison.Ordinal);
        Assert.Equal(made, await PixelsAsync("b.png"));

        await TrainAsync("dit", model, "run", "\"seed\": 1", steps: 3);
        Assert.Contains("has other weights now", (await LikeAsync("c.png", model)).Error, StringComparison.Ordinal);
        Assert.NotEqual(made, await PixelsAsync("c.png"));

        Directory.Move(folder.File("run"), folder.File("moved"));
        (await LikeAsync("d.png", model)).AssertRefused("training run run", "name it with --transformer");
    }

    [Fact]
    public async Task Runs_that_do_not_fit_are_refused_before_weights_are_read()
    {
        var model = Model("miniflux");
        await TrainAsync("lora", model, "lora", "\"lora\": { \"rank\": 2, \"targets\": [\"proj_out\"] }");
        await RefusedAsync("it is a run of train lora: use --lora", "--model", model, "--transformer", folder.File("lora"));
        await RefusedAsync("none does not exist", "--model", model, "--vae", folder.File("none"));

        await TrainAsync("dit", model, "run", "\"seed\": 1");
        await File.WriteAllTextAsync(folder.File("run", "diffusion_transformer", "diffusion_pytorch_model.safetensors"), "no weights", Cancel);
        await RefusedAsync("holds a pyramid_flux where", "--model", Model("sd3"), "--transformer", folder.File("run"));

        async Task RefusedAsync(string words, params string[] options)
        {
            var run = await CliRun.OfAsync(["generate", Caption, "--frames", "1", "-o", folder.File("x.png"), .. options]);
            Assert.Equal(ExitCode.Failed, run.Code);
            Assert.Contains(words, run.Error, StringComparison.Ordinal);
            Assert.DoesNotContain("unexpected", run.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_folder_of_a_lora_run_is_a_lora()
    {
        var model = Model("miniflux");
        var trained = await TrainAsync("lora", model, "panda", "\"lora\": { \"rank\": 2, \"targets\": [\"proj_out\"] }");
        Assert.Contains($" --lora {folder.File("panda")}\n", trained.Error, StringComparison.Ordinal);
        var made = await GenerateAsync("a.png", "--model", model, "--lora", folder.File("panda"));
        Assert.Equal(made, await GenerateAsync("b.png", "--model", model, "--lora", folder.File("panda", "lora.safetensors")));
        var export = await CliRun.OfAsync("train", "export", folder.File("panda"), folder.File("mine"));
        Assert.Equal(ExitCode.Failed, export.Code);
        Assert.Contains("use --lora", export.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_best_weights_take_the_place_of_the_newest()
    {
        // Steps this large make it worse from step to step.
        const string worse = "\"learning_rate\": 0.5, \"held_out\": 1, \"checkpoint_every\": 1";
        var (model, run) = (Model("miniflux"), folder.File("run"));
        var trained = await TrainAsync("dit", model, "run", worse, steps: 4);
        var best = folder.File("run", "best");
        Assert.Contains($"step 1 has the least held-out loss, ", trained.Error, StringComparison.Ordinal);
        Assert.Contains($", not the last one: --transformer {best} takes it\n", trained.Error, StringComparison.Ordinal);
        Assert.Contains("2 items of 64x64, 1 held out; ", trained.Error, StringComparison.Ordinal);

        var made = await GenerateAsync("best.png", "--model", model, "--transformer", best);
        Assert.NotEqual(await GenerateAsync("newest.png", "--model", model, "--transformer", run), made);
        await ExportAsync(run, "flag", "--dtype", "fp32", "--best");
        await ExportAsync(best, "folder", "--dtype", "fp32");
        Assert.Equal(made, await GenerateAsync("flag.png", "--model", folder.File("flag")));
        Assert.Equal(made, await GenerateAsync("folder.png", "--model", folder.File("folder")));

        trained = await TrainAsync("lora", model, "panda", $"{worse}, \"lora\": {{ \"rank\": 2, \"targets\": [\"proj_out\"] }}", steps: 4);
        Assert.Contains($": --lora {folder.File("panda", "best")} takes it\n", trained.Error, StringComparison.Ordinal);
        Assert.NotEqual(await GenerateAsync("a.png", "--model", model, "--lora", folder.File("panda")), await GenerateAsync("b.png", "--model", model, "--lora", folder.File("panda", "best")));

        Directory.Delete(best, recursive: true);
        (await CliRun.OfAsync("train", "export", run, folder.File("none"), "--best")).AssertRefused("has kept no best weights");
    }

    [Fact]
    public async Task A_vae_run_takes_the_place_of_the_vae()
    {
        var model = Model("miniflux");
        var config = folder.Write("vae.json", $$"""
            {
              "start_from": {{JsonSerializer.Serialize(model)}}, "freeze_encoder": true, "perceptual_weight": 0, "held_out": 0, "steps": 2, "learning_rate": 0.05, "warm_up_steps": 0,
              "data": { "annotations": {{JsonSerializer.Serialize(Annotations())}}, "sizes": ["64x64"], "frames": [9] }
            }
            """);
        var trained = await CliRun.OfAsync("train", "vae", "--config", config, "--out", folder.File("vae"));
        Assert.True(trained.Code == ExitCode.Ok, trained.Error);
        Assert.Contains($" --vae {folder.File("vae")}\n", trained.Error, StringComparison.Ordinal);

        var made = await GenerateAsync("a.png", "--model", model, "--vae", folder.File("vae"));
        Assert.NotEqual(await GenerateAsync("plain.png", "--model", model), made);
        await ExportAsync(folder.File("vae"), "mine", "--dtype", "fp32");
        Assert.Equal(made, await GenerateAsync("b.png", "--model", folder.File("mine")));
        Assert.Equal(made, await LikePixelsAsync(model));

        async Task<byte[]> LikePixelsAsync(string like)
        {
            var run = await LikeAsync("c.png", like);
            Assert.True(run.Code == ExitCode.Ok, run.Error);
            return await PixelsAsync("c.png");
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
        folder.Write("runs/dit/config.json", """{ "steps": 1 }""");
        folder.Write("runs/vae/config.json", """{ "steps": 1 }""");
        var (runs, model) = (folder.File("runs"), folder.File("runs", "exported"));
        Assert.Equal($"pyramidflow train export {runs} {model} && pyramidflow generate \"a small red circle moving right on a black background\" --model {model}", VideoOfRun.After("dit", runs)[^1]);
        Assert.Contains("train a transformer on its latents", Assert.Single(VideoOfRun.After("vae", runs)), StringComparison.Ordinal);
        Assert.Empty(VideoOfRun.After("lora", folder.Path));
    }

    [Fact]
    public async Task Plans_know_runs_and_services_do_not_offer_them()
    {
        var model = Model("miniflux");
        await TrainAsync("dit", model, "run", "\"seed\": 1");
        folder.Write("run/pipeline.json", """{ "width": 128, "height": 64, "frames": 9 }""");
        var plan = await CliRun.OfAsync("plan", "--model", model, "--transformer", folder.File("run"));
        Assert.True(plan.Code == ExitCode.Ok, plan.Error);
        Assert.Contains("128x64", plan.Out, StringComparison.Ordinal);
        foreach (var command in (string[])["serve", "worker"])
            (await CliRun.OfAsync(command, "--transformer", folder.File("run"))).AssertRefused("unknown option '--transformer'");
        (await CliRun.OfAsync("train", "export", folder.File("run"), folder.File("mine"), "--model", "no-such-model")).AssertRefused("no-such-model");
        File.Delete(folder.File("run", "config.json"));
        (await CliRun.OfAsync("train", "export", folder.File("run"), folder.File("mine"))).AssertRefused("does not say which model it began with", "--model");
    }

    private string Model(string layout)
    {
        var path = folder.File(layout);
        if (!Directory.Exists(path))
            RandomCheckpoint.Write(path, new RandomOptions(layout, RandomScale.Tiny, Seed: 1), cancellationToken: Cancel);
        return path;
    }

    private async Task<CliRun> TrainAsync(string part, string model, string run, string addition, int steps = 2)
    {
        var config = folder.Write($"{run}.json", $$"""
            {
              "model": {{JsonSerializer.Serialize(model)}}, "max_temporal_length": 2, "learning_rate": 0.05, "warm_up_steps": 0, "steps": {{steps}}, {{addition}},
              "data": { "annotations": {{JsonSerializer.Serialize(Annotations())}}, "sizes": ["64x64"], "frames": [9] }
            }
            """);
        var trained = await CliRun.OfAsync("train", part, "--config", config, "--out", folder.File(run));
        Assert.True(trained.Code == ExitCode.Ok, trained.Error);
        return trained;
    }

    private string Annotations()
    {
        for (var i = 0; i < 3; i++)
            PngWriter.Write(folder.File($"{i}.png"), new RgbImage(64, 64, Enumerable.Range(0, 64 * 64 * 3).Select(k => (byte)(k * (i + 3))).ToArray()));
        return folder.Write("data.jsonl", string.Concat(Enumerable.Range(0, 3).Select(i => JsonSerializer.Serialize(new { image = $"{i}.png", text = Caption }) + "\n")));
    }

    private async Task<string> ExportAsync(string run, string name, params string[] more)
    {
        var export = await CliRun.OfAsync(["train", "export", run, folder.File(name), .. more]);
        Assert.True(export.Code == ExitCode.Ok, export.Error);
        return export.Out.Trim();
    }

    private Task<CliRun> LikeAsync(string name, string model) =>
        CliRun.OfAsync("generate", "--like", folder.File("a.png"), "--model", model, "-o", folder.File(name));

    private async Task<byte[]> GenerateAsync(string name, params string[] options)
    {
        var run = await CliRun.OfAsync(["generate", Caption, "--frames", "1", "--seed", "1", "--size", "64x64", "--dtype", "fp32", "-o", folder.File(name), .. options]);
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        return await PixelsAsync(name);
    }

    private async Task<byte[]> PixelsAsync(string name) => (await ImageReader.ReadAsync(folder.File(name), cancellationToken: Cancel)).Pixels.ToArray();
}
