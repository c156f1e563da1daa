using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Media;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Cli.Tests;

public sealed class LoraTests : IClassFixture<TinyModel>, IDisposable
{
    private readonly TinyModel model;
    private readonly TemporaryFolder folder = new();

    public LoraTests(TinyModel model)
    {
        this.model = model;
        model.WriteLora(folder.File("style.safetensors"), seed: 2);
    }

    public void Dispose() => folder.Dispose();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Weights_count_and_several_add_up()
    {
        var plain = await GenerateAsync("plain.png");
        var whole = await GenerateAsync("whole.png", "--lora", folder.File("style.safetensors"));
        var none = await GenerateAsync("none.png", "--lora", folder.File("style.safetensors:0"));
        var halves = await GenerateAsync("halves.png", "--lora", folder.File("style.safetensors:0.5"), "--lora", folder.File("style.safetensors:0.5"));

        Assert.Equal(plain.Pixels.ToArray(), none.Pixels.ToArray());
        Assert.True(Difference(plain, whole) > 1);
        Assert.InRange(Difference(halves, whole), 0, 0.1);
    }

    [Theory]
    [InlineData("style.safetensors:much", "cannot be", "style.safetensors:0.8")]
    [InlineData("style.safetensors:", "such as style.safetensors:0.8")]
    [InlineData("style.safetensors:NaN", "such as style.safetensors:0.8")]
    [InlineData(":1", "such as style.safetensors:0.8")]
    [InlineData("", "--lora is empty")]
    [InlineData("none.safetensors:0.5", "none.safetensors does not exist", "--lora takes")]
    public async Task Impossible_weights_and_missing_files_are_refused(string lora, params string[] words) =>
        (await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "--lora", lora, "-o", folder.File("x.png"))).AssertRefused(words);

    [Fact]
    public async Task A_lora_of_another_model_and_a_file_that_holds_none_fail_with_one_sentence()
    {
        using (new TensorScope())    // closed before the first await: what follows may go on on another thread
        {
            SafetensorsWriter.Write(folder.File("other.safetensors"), [("transformer.elsewhere.lora_A.weight", Tensor.Ones([1, 2])), ("transformer.elsewhere.lora_B.weight", Tensor.Ones([2, 1]))]);
            SafetensorsWriter.Write(folder.File("weights.safetensors"), [("x.weight", Tensor.Ones([2, 2]))]);
        }

        await File.WriteAllTextAsync(folder.File("text.safetensors"), "no weights", Cancel);
        await FailsAsync("other.safetensors", "is a LoRA of another model: there is no layer elsewhere here");
        await FailsAsync("weights.safetensors", "holds no LoRA");
        await FailsAsync("text.safetensors", "text.safetensors");

        async Task FailsAsync(string file, string words)
        {
            var run = await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "--lora", folder.File(file), "-o", folder.File("x.png"));
            Assert.Equal(ExitCode.Failed, run.Code);
            Assert.Contains(words, run.Error, StringComparison.Ordinal);
            Assert.DoesNotContain("unexpected", run.Error, StringComparison.Ordinal);
            Assert.DoesNotContain("x.png", folder.Names);
        }
    }

    [Fact]
    public async Task A_file_remembers_its_loras()
    {
        var first = await GenerateAsync("a.png", "--lora", folder.File("style.safetensors:0.5"));
        using (var notes = JsonDocument.Parse((await MediaMetadata.ReadAsync(folder.File("a.png"), Cancel))["comment"]))
        {
            var noted = notes.RootElement.GetProperty("loras")[0];
            Assert.Equal(("style.safetensors", 0.5), (noted.GetProperty("file").GetString(), noted.GetProperty("weight").GetDouble()));
        }

        Assert.Equal(first.Pixels.ToArray(), (await LikeAsync("b.png")).Pixels.ToArray());
        Assert.NotEqual(first.Pixels.ToArray(), (await LikeAsync("c.png", "--lora", folder.File("style.safetensors:-2"))).Pixels.ToArray());

        model.WriteLora(folder.File("style.safetensors"), seed: 3);
        var other = await CliRun.OfAsync("generate", "--like", folder.File("a.png"), "--model", model.Folder, "-o", folder.File("d.png"));
        Assert.Contains("is another LoRA than the one", other.Error, StringComparison.Ordinal);
        File.Delete(folder.File("style.safetensors"));
        (await CliRun.OfAsync("generate", "--like", folder.File("a.png"), "--model", model.Folder, "-o", folder.File("e.png")))
            .AssertRefused("was made with the LoRA style.safetensors", "name it with --lora");
    }

    [Fact]
    public async Task A_continuation_has_the_loras_of_its_video()
    {
        var made = await CliRun.OfAsync("generate", "a red ball", "--model", model.Folder, "--lora", folder.File("style.safetensors:0.5"), "--frames", "9", "-o", folder.File("a.mp4"));
        Assert.True(made.Code == ExitCode.Ok, made.Error);
        var run = await ExtendAsync("b.mp4");
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        using (var notes = JsonDocument.Parse((await MediaMetadata.ReadAsync(folder.File("b.mp4"), Cancel))["comment"]))
            Assert.Equal(0.5, notes.RootElement.GetProperty("loras")[0].GetProperty("weight").GetDouble());

        File.Delete(folder.File("style.safetensors"));
        (await ExtendAsync("c.mp4")).AssertRefused("was made with the LoRA style.safetensors", "name it with --lora");

        Task<CliRun> ExtendAsync(string name) => CliRun.OfAsync("extend", folder.File("a.mp4"), "--model", model.Folder, "--frames", "8", "-o", folder.File(name));
    }

    [Fact]
    public async Task The_folder_of_an_adapter_counts_with_its_settings_and_is_known_again()
    {
        using (new TensorScope())
        {
            using var style = SafetensorsFile.Open(folder.File("style.safetensors"));
            SafetensorsWriter.Write(folder.File("pink", "adapter_model.safetensors"), [.. style.Entries.Values.Select(entry => (entry.Name.Replace("transformer.", "base_model.model.", StringComparison.Ordinal), style.Read(entry.Name)))]);
        }

        folder.Write("pink/adapter_config.json", """{"peft_type":"LORA","r":2,"lora_alpha":1}""");
        var half = await GenerateAsync("half.png", "--lora", folder.File("style.safetensors:0.5"));
        var a = await GenerateAsync("a.png", "--lora", folder.File("pink") + "/");
        Assert.Equal(half.Pixels.ToArray(), a.Pixels.ToArray());
        Assert.Equal(a.Pixels.ToArray(), (await LikeAsync("again.png")).Pixels.ToArray());
        folder.Write("pink/adapter_config.json", """{"peft_type":"LORA","r":2,"lora_alpha":2}""");
        var run = await CliRun.OfAsync("generate", "--like", folder.File("a.png"), "--model", model.Folder, "-o", folder.File("other.png"));
        Assert.Contains("is another LoRA than the one", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_batch_makes_again_what_was_made_with_another_lora()
    {
        folder.Write("prompts.txt", "a red ball\n");
        Assert.Contains("1 made", await BatchAsync("style.safetensors"), StringComparison.Ordinal);
        Assert.Contains("1 made before", await BatchAsync("style.safetensors"), StringComparison.Ordinal);
        Assert.Contains("1 made of", await BatchAsync("style.safetensors:0.5"), StringComparison.Ordinal);

        async Task<string> BatchAsync(string lora) => (await CliRun.OfAsync("generate", "--batch", folder.File("prompts.txt"), "--model", model.Folder,
            "--frames", "1", "--seed", "1", "--lora", folder.File(lora), "-o", Path.Combine(folder.Path, "clips"))).Error;
    }

    [Fact]
    public async Task Evaluation_takes_a_lora_and_a_colour()
    {
        var run = await CliRun.OfAsync("eval", "sprites", "--count", "1", "--colour", "pink", "--lora", folder.File("style.safetensors"), "--model", model.Folder, "--json");
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        (await CliRun.OfAsync("eval", "sprites", "--colour", "mauve", "--model", model.Folder)).AssertRefused("--colour cannot be mauve", "pink");
    }

    private async Task<RgbImage> LikeAsync(string name, params string[] more)
    {
        var run = await CliRun.OfAsync(["generate", "--like", folder.File("a.png"), "--model", model.Folder, "-o", folder.File(name), .. more]);
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.DoesNotContain("warning", run.Error, StringComparison.Ordinal);
        return await ImageReader.ReadAsync(folder.File(name), cancellationToken: Cancel);
    }

    private async Task<RgbImage> GenerateAsync(string name, params string[] more)
    {
        var run = await CliRun.OfAsync(["generate", "a red ball", "--seed", "1", "--model", model.Folder, "-o", folder.File(name), .. more]);
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        return await ImageReader.ReadAsync(folder.File(name), cancellationToken: Cancel);
    }

    private static double Difference(RgbImage a, RgbImage b) => Enumerable.Zip(a.Pixels.ToArray(), b.Pixels.ToArray(), (x, y) => (double)Math.Abs(x - y)).Average();
}
