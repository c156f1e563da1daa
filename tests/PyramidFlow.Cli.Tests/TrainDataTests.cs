using System.Diagnostics;
using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Media;
using PyramidFlow.Testing;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Cli.Tests;

/// <summary><c>train dit</c> and <c>train lora</c> on data of one's own, with models of both families in the released layout.</summary>
public sealed class TrainDataTests : IDisposable
{
    private readonly OwnData own = new();

    private TemporaryFolder Folder => own.Folder;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => own.Dispose();

    [Theory]
    [InlineData("miniflux")]
    [InlineData("sd3")]
    public async Task A_lora_of_ones_own_pictures_is_used_by_generate(string layout)
    {
        var model = own.Model(layout);
        var config = own.Config(model, "\"lora\": { \"rank\": 2, \"targets\": [\"proj_out\"] }, \"learning_rate\": 0.5, \"warm_up_steps\": 0, \"steps\": 2");
        var trained = await CliRun.OfAsync("train", "lora", "--config", config, "--out", Folder.File("run"));

        Assert.True(trained.Code == ExitCode.Ok, trained.Error);
        var lora = Folder.File("run", "lora.safetensors");
        Assert.Equal(lora, trained.Out.Trim());
        var plain = await own.GenerateAsync("plain.png", "--model", model);
        var adapted = await own.GenerateAsync("adapted.png", "--model", model, "--lora", lora);
        Assert.NotEqual(plain, adapted);
        Assert.Equal(plain, await own.GenerateAsync("none.png", "--model", model, "--lora", $"{lora}:0"));
    }

    [Theory]
    [InlineData("miniflux", "media", "text")]
    [InlineData("sd3", "latents", "features")]
    public async Task Samples_are_what_generate_makes_of_the_weights_of_that_step(string layout, string input, string captions)
    {
        var model = own.Model(layout);
        var annotations = input == "media" ? own.Annotations() : await ExtractedAsync(model);
        var config = own.Config(model, $$"""
            "input": "{{input}}", "captions": "{{captions}}", "steps": 2, "learning_rate": 0.01, "warm_up_steps": 0, "sample_every": 2,
            "samples": { "prompts": ["a red ball", "a dog"], "size": "128x64", "frames": 9, "seed": 3, "guidance": 2, "video_guidance": 2 }
            """, annotations);
        var trained = await CliRun.OfAsync("train", "dit", "--config", config, "--out", Folder.File("run"));

        Assert.True(trained.Code == ExitCode.Ok, trained.Error);
        var path = Folder.File("run", "samples", "step-00000002.png");
        Assert.Contains($"samples are in {path}", trained.Error, StringComparison.Ordinal);
        var sheet = await ImageReader.ReadAsync(path, cancellationToken: Cancel);
        Assert.Equal((2 + (8 * 130), 2 + (2 * 66)), (sheet.Width, sheet.Height));

        // The second row begins with the second prompt's first frame, which the trained model makes of the next seed.
        Directory.Move(Folder.File("run", "diffusion_transformer"), Replaced(model));
        var run = await CliRun.OfAsync("generate", "a dog", "--model", model, "--size", "128x64", "--frames", "1", "--seed", "4", "--guidance", "2", "-o", Folder.File("dog.png"));
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        var dog = await ImageReader.ReadAsync(Folder.File("dog.png"), cancellationToken: Cancel);
        var difference = Enumerable.Range(0, 64).SelectMany(y => Enumerable.Range(0, 128 * 3).Select(x =>
            Math.Abs(sheet.Pixels.Span[((y + 68) * sheet.Width * 3) + 6 + x] - dog.Pixels.Span[(y * 128 * 3) + x]))).Max();
        Assert.InRange(difference, 0, 2);
    }

    [Fact]
    public async Task Latents_and_features_of_another_model_are_refused()
    {
        var model = own.Model("miniflux");
        var annotations = await ExtractedAsync(model);
        RandomCheckpoint.Write(Folder.File("other"), new RandomOptions("miniflux", RandomScale.Tiny, Seed: 2), cancellationToken: Cancel);
        const string addition = "\"input\": \"latents\", \"captions\": \"features\", \"steps\": 1";
        var other = await CliRun.OfAsync("train", "dit", "--config", own.Config(Folder.File("other"), addition, annotations), "--out", Folder.File("run"));
        Assert.Equal(ExitCode.Failed, other.Code);
        Assert.Contains("comes from another VAE than that of the model: run extract latents", other.Error, StringComparison.Ordinal);

        // The same VAE, and other text encoders.
        Directory.Delete(Folder.File("other", "causal_video_vae"), recursive: true);
        Directory.Move(Path.Combine(model, "causal_video_vae"), Folder.File("other", "causal_video_vae"));
        other = await CliRun.OfAsync("train", "dit", "--config", own.Config(Folder.File("other"), addition, annotations), "--out", Folder.File("run"));
        Assert.Equal(ExitCode.Failed, other.Code);
        Assert.Contains("comes from other text encoders than those of the model: run extract text", other.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_second_run_in_a_folder_changes_nothing_in_it()
    {
        var config = own.Config(own.Model("miniflux"), "\"steps\": 1");
        Folder.Write(Path.Combine("run", "config.json"), "that of the first");
        using (new RunFolder(Folder.File("run")).Hold())
        {
            var second = await CliRun.OfAsync("train", "dit", "--config", config, "--out", Folder.File("run"));
            Assert.Equal(ExitCode.Failed, second.Code);
            Assert.Contains("is in use by another training", second.Error, StringComparison.Ordinal);
        }

        Assert.Equal([Folder.File("run", "config.json")], Directory.GetFiles(Folder.File("run")));
        Assert.Equal("that of the first", await File.ReadAllTextAsync(Folder.File("run", "config.json"), Cancel));
    }

    [Fact]
    public async Task What_could_not_be_used_is_named_at_the_end()
    {
        own.Picture("tiny.png", 1);
        var annotations = own.Annotations(new { image = "tiny.png", text = OwnData.Caption }, new { image = "lost.png", text = OwnData.Caption });
        var run = await CliRun.OfAsync("train", "dit", "--config", own.Config(own.Model("miniflux"), "\"steps\": 1", annotations), "--out", Folder.File("run"));

        Assert.True(run.Code == ExitCode.LeftOut, run.Error);
        var list = Folder.File("run", "left-out.jsonl");
        Assert.Contains($"all of them are in {list}", run.Error, StringComparison.Ordinal);
        Assert.Equal(["tiny.png", "lost.png"], File.ReadLines(list).Select(line => Path.GetFileName(JsonElement.Parse(line).GetProperty("item").GetString())));
        var report = run.Error[run.Error.IndexOf("2 of the items could not be used: 1 missing, 1 too small", StringComparison.Ordinal)..];
        Assert.Contains($"{annotations}, line 4", report, StringComparison.Ordinal);
        Assert.Contains($"{annotations}, line 5", report, StringComparison.Ordinal);
        Assert.Contains("tiny.png", report, StringComparison.Ordinal);
        Assert.Contains("lost.png", report, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Processes_that_left_items_out_have_done_their_work()
    {
        var config = own.Config(own.Model("miniflux"), "\"steps\": 1", own.Annotations(new { image = "lost.png", text = OwnData.Caption }));
        using var run = Process.Start(new ProcessStartInfo("dotnet",
            [typeof(CommandLine).Assembly.Location, "launch", "--nproc", "2", "--", "train", "dit", "--config", config, "--set", "steps=2", "--out", Folder.File("run")])
        { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var errors = run.StandardError.ReadToEndAsync(Cancel);
        await run.StandardOutput.ReadToEndAsync(Cancel);
        await run.WaitForExitAsync(Cancel);

        Assert.True(run.ExitCode == ExitCode.LeftOut, await errors);
        Assert.True(File.Exists(Folder.File("run", "state-00000002.safetensors")));
        Assert.Single(File.ReadLines(Folder.File("run", "left-out.jsonl")));
    }

    [Fact]
    public async Task A_folder_with_texts_is_extracted_and_trained_on()
    {
        var model = own.Model("miniflux");
        Directory.CreateDirectory(Folder.File("clips"));
        foreach (var name in new[] { "a", "b", "c" })
        {
            own.Picture(Path.Combine("clips", $"{name}.png"), 64);
            if (name != "c")
                Folder.Write(Path.Combine("clips", $"{name}.txt"), $"{OwnData.Caption} {name}\n");
        }

        var check = await CliRun.OfAsync("data", "check", Folder.File("clips"), "--size", "64x64");
        Assert.Contains("3 lines, 3 usable: 0 videos, 3 images; 2 with a caption", check.Out, StringComparison.Ordinal);
        var latents = await CliRun.OfAsync("extract", "latents", Folder.File("clips") + Path.DirectorySeparatorChar, "--model", model, "--size", "64x64");
        Assert.True(latents.Code == ExitCode.Ok, latents.Error);
        Assert.Equal(Folder.File("clips-latents.jsonl"), latents.Out.Trim());
        var text = await CliRun.OfAsync("extract", "text", Folder.File("clips-latents.jsonl"), "--model", model, "-o", Folder.File("train.jsonl"));
        Assert.True(text.Code == ExitCode.LeftOut, text.Error);
        Assert.Equal("no_caption", JsonElement.Parse(Assert.Single(File.ReadLines(Folder.File("train-left-out.jsonl")))).GetProperty("kind").GetString());
        var run = await CliRun.OfAsync("train", "dit", "--config", own.Config(model, "\"steps\": 9", Folder.File("clips")), "--set", "steps=1", "--out", Folder.File("run"));

        Assert.True(run.Code == ExitCode.LeftOut, run.Error);
        Assert.Contains($"{Folder.File("clips", "c.png")}: it has no text: write its caption to {Folder.File("clips", "c.txt")}", run.Error, StringComparison.Ordinal);
        Assert.True(File.Exists(Folder.File("run", "state-00000001.safetensors")));
    }

    [Fact]
    public async Task Impossible_samples_are_refused_before_the_first_step()
    {
        var run = await CliRun.OfAsync("train", "dit", "--config", own.Config(own.Model("miniflux"), "\"sample_every\": 2, \"samples\": { \"prompts\": [\"a\"], \"frames\": 4 }"),
            "--out", Folder.File("run"));

        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Contains("samples: 4 frames", Assert.Single(run.Error.Split('\n'), line => line.StartsWith("error: ", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.False(File.Exists(Folder.File("run", "metrics.jsonl")));
    }

    private static string Replaced(string model)
    {
        var component = Path.Combine(model, "diffusion_transformer_384p");
        Directory.Delete(component, recursive: true);
        return component;
    }

    private async Task<string> ExtractedAsync(string model)
    {
        var (latents, train) = (Folder.File("latents.jsonl"), Folder.File("train.jsonl"));
        var first = await CliRun.OfAsync("extract", "latents", own.Annotations(), "--model", model, "--size", "64x64", "-o", latents);
        Assert.True(first.Code == ExitCode.Ok, first.Error);
        var second = await CliRun.OfAsync("extract", "text", latents, "--model", model, "-o", train);
        Assert.True(second.Code == ExitCode.Ok, second.Error);
        return train;
    }
}
