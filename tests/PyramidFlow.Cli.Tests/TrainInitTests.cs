using System.Text.Json;
using System.Text.Json.Nodes;
using Json.Schema;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary><c>train init</c>: a configuration for a folder of clips, which trains as it is.</summary>
public sealed class TrainInitTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task From_a_folder_to_a_lora_with_nothing_else_to_write()
    {
        await ClipsAsync(("a", 160, 96, 20), ("b", 160, 96, 41), ("c", 96, 160, 12), ("d", 160, 96, 17), ("e", 160, 96, 30));
        var init = await CliRun.OfAsync("train", "init", folder.File("clips"), "--model", Model(), "--device", "cpu", "-o", folder.File("mine.json"));

        Assert.True(init.Code == ExitCode.Ok, init.Error);
        Assert.Equal(folder.File("mine.json"), init.Out.Trim());
        var config = Read("mine.json");
        Assert.Equal(["clips"], config["data"]!["annotations"]!.AsArray().Select(node => (string)node!));
        Assert.Equal(["128x64", "64x128"], config["data"]!["sizes"]!.AsArray().Select(node => (string)node!));
        Assert.Equal([9, 17], config["data"]!["frames"]!.AsArray().Select(node => (int)node!));
        Assert.Equal(4, (int)config["batch"]!);
        Assert.Equal("tiny", (string)config["model"]!);
        Assert.True(JsonSchema.FromFile(folder.File((string)config["$schema"]!)).Evaluate(config).IsValid);

        var trained = await CliRun.OfAsync("train", "lora", "--config", folder.File("mine.json"), "--set", "steps=1", "--set", "sample_every=1", "--out", folder.File("run"));
        Assert.True(trained.Code == ExitCode.Ok, trained.Error);
        Assert.Equal(folder.File("run", "lora.safetensors"), trained.Out.Trim());
        Assert.True(File.Exists(folder.File("run", "samples", "step-00000001.png")));
    }

    [Theory]
    [InlineData("dit", "cuda", "\"precision\": \"bfloat16\"")]
    [InlineData("vae", "cpu", "\"freeze_encoder\": true")]
    public async Task A_configuration_keeps_to_its_schema(string part, string device, string line)
    {
        await ClipsAsync(("a", 160, 96, 20));
        var init = await CliRun.OfAsync("train", "init", folder.File("clips"), "--for", part, "--model", Model(), "--device", device, "-o", folder.File("mine.json"));

        Assert.True(init.Code == ExitCode.Ok, init.Error);
        Assert.Contains(line, await File.ReadAllTextAsync(folder.File("mine.json"), Cancel), StringComparison.Ordinal);
        Assert.True(JsonSchema.FromFile(folder.File($"{part}.schema.json")).Evaluate(Read("mine.json")).IsValid);
        Assert.Contains($"pyramidflow train {part} --config", init.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_few_long_clips_are_cut_so_that_a_batch_does_not_repeat_them()
    {
        await ClipsAsync(("a", 96, 64, 20), ("b", 96, 64, 12), ("c", 96, 64, 12), ("d", 96, 64, 12));
        var init = await CliRun.OfAsync("train", "init", folder.File("clips"), "--model", Model(), "--device", "cpu", "-o", folder.File("mine.json"));

        Assert.True(init.Code == ExitCode.Ok, init.Error);
        Assert.Equal([9], Read("mine.json")["data"]!["frames"]!.AsArray().Select(node => (int)node!));
    }

    [Fact]
    public async Task A_released_model_need_not_be_there_yet()
    {
        await ClipsAsync(("a", 160, 96, 20));
        var init = await CliRun.OfAsync("train", "init", folder.File("clips"), "--model", "pyramid-flow-sd3", "--device", "cpu", "-o", folder.File("mine.json"));

        Assert.True(init.Code == ExitCode.Ok, init.Error);
        Assert.Equal("384p", (string)Read("mine.json")["variant"]!);
        Assert.Contains("models download pyramid-flow-sd3", init.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_there_is_kept_and_what_cannot_be_trained_on_is_said()
    {
        await ClipsAsync(("a", 160, 96, 20));
        var existing = folder.Write("mine.json", "{}");
        var again = await CliRun.OfAsync("train", "init", folder.File("clips"), "--model", Model(), "-o", existing);
        Assert.Equal(ExitCode.WrongUsage, again.Code);
        Assert.Equal("{}", await File.ReadAllTextAsync(existing, Cancel));

        File.Delete(folder.File("clips", "a.txt"));
        var mute = await CliRun.OfAsync("train", "init", folder.File("clips"), "--model", Model(), "-o", folder.File("other.json"));
        Assert.Equal(ExitCode.WrongUsage, mute.Code);
        Assert.Contains("none of the 1 items has a caption", mute.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(folder.File("other.json")));
    }

    private JsonNode Read(string name) => JsonNode.Parse(File.ReadAllText(folder.File(name)), documentOptions: new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip })!;

    private string Model()
    {
        var model = folder.File("tiny");
        if (!Directory.Exists(model))
        {
            RandomCheckpoint.Write(model, new RandomOptions("miniflux", RandomScale.Tiny, Seed: 1), cancellationToken: Cancel);
            folder.Write(Path.Combine("tiny", "pipeline.json"), """{ "width": 128, "height": 64, "frames": 17, "max_latent_frames": 3, "steps": [1, 1, 1], "video_steps": [1, 1, 1] }""");
        }

        return model;
    }

    private async Task ClipsAsync(params (string Name, int Width, int Height, int Frames)[] clips)
    {
        Directory.CreateDirectory(folder.File("clips"));
        foreach (var (name, width, height, frames) in clips)
        {
            await using (var video = VideoWriter.Create(folder.File("clips", $"{name}.mp4"), width, height))
            {
                await video.WriteFramesAsync(new byte[frames * width * height * 3], Cancel);
                await video.CompleteAsync(Cancel);
            }

            folder.Write(Path.Combine("clips", $"{name}.txt"), $"clip {name}\n");
        }
    }
}
