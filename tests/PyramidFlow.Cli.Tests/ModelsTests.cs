using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

[Collection(Environment)]
public sealed class ModelsTests : IDisposable
{
    /// <summary>Tests that set variables of the process run one after another.</summary>
    public const string Environment = "environment";

    private static readonly string[] Variables = [ModelCatalog.Variable, "HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME"];

    private readonly TemporaryFolder folder = new();
    private readonly string?[] before = [.. Variables.Select(System.Environment.GetEnvironmentVariable)];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        foreach (var (name, value) in Variables.Zip(before))
            System.Environment.SetEnvironmentVariable(name, value);
        folder.Dispose();
    }

    [Theory]
    [InlineData("miniflux")]
    [InlineData("sd3")]
    [InlineData("sprites")]
    public async Task A_random_checkpoint_verifies_and_generates(string layout)
    {
        var model = await RandomAsync("m", "--layout", layout, "--seed", "3");
        var verified = await CliRun.OfAsync("models", "verify", model);
        Assert.True(verified.Code == ExitCode.Ok, verified.Out);
        Assert.Contains(layout == "sd3" ? "pyramid_mmdit (SD3)" : "pyramid_flux (miniFLUX)", verified.Out, StringComparison.Ordinal);
        Assert.Contains(layout == "sprites" ? "plain: runs" : "384p: runs", verified.Out, StringComparison.Ordinal);
        var run = await CliRun.OfAsync("generate", "a red ball falling", "--model", model, "-o", folder.File("x.mp4"), "--seed", "7");
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.True(new FileInfo(folder.File("x.mp4")).Length > 0);
    }

    [Fact]
    public async Task Verify_names_the_weight_that_is_no_number_unless_it_is_to_be_quick()
    {
        var model = await RandomAsync("m");
        var weights = Path.Combine(model, "causal_video_vae", "diffusion_pytorch_model.safetensors");
        var bytes = await File.ReadAllBytesAsync(weights, Cancel);
        bytes[^2] = bytes[^1] = 0xFF;
        await File.WriteAllBytesAsync(weights, bytes, Cancel);
        var run = await CliRun.OfAsync("models", "verify", model);
        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Contains($"- {weights} holds a number that is not finite in ", run.Out, StringComparison.Ordinal);
        Assert.Equal(ExitCode.Ok, (await CliRun.OfAsync("models", "verify", model, "--quick")).Code);
    }

    [Fact]
    public async Task Verify_names_the_fault_and_fails_when_nothing_runs()
    {
        var model = await RandomAsync("m");
        var weights = Path.Combine(model, "causal_video_vae", "diffusion_pytorch_model.safetensors");
        var bytes = await File.ReadAllBytesAsync(weights, Cancel);
        await File.WriteAllBytesAsync(weights, bytes[..^10], Cancel);
        var run = await CliRun.OfAsync("models", "verify", model);
        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Contains("FAULT causal_video_vae", run.Out, StringComparison.Ordinal);
        Assert.Contains("10 are missing", run.Out, StringComparison.Ordinal);
        Assert.Contains("384p: does not run", run.Out, StringComparison.Ordinal);

        var generated = await CliRun.OfAsync("generate", "a ball", "--model", model, "-o", folder.File("x.mp4"));
        Assert.Equal(ExitCode.Failed, generated.Code);
        Assert.Contains("10 are missing", generated.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Verify_as_json_says_of_each_variant_whether_it_runs()
    {
        var model = await RandomAsync("m");
        Directory.CreateDirectory(Path.Combine(model, "diffusion_transformer_768p"));
        var run = await CliRun.OfAsync("models", "verify", model, "--json");
        Assert.Equal(ExitCode.Ok, run.Code);
        using var json = JsonDocument.Parse(run.Out);
        Assert.True(json.RootElement.GetProperty("ok").GetBoolean());
        Assert.Equal([true, false], json.RootElement.GetProperty("variants").EnumerateArray().Select(v => v.GetProperty("runs").GetBoolean()));
        Assert.NotEmpty(json.RootElement.GetProperty("variants")[1].GetProperty("faults").EnumerateArray());
        Assert.Equal(7, json.RootElement.GetProperty("parts").GetArrayLength());
    }

    [Fact]
    public async Task Verify_of_a_folder_that_is_no_checkpoint_fails()
    {
        var run = await CliRun.OfAsync("models", "verify", folder.Path);
        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Contains("is not a checkpoint folder", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task List_shows_what_is_installed_what_is_damaged_and_what_can_be_had()
    {
        await RandomAsync("whole");
        var damaged = await RandomAsync("damaged");
        File.Delete(Path.Combine(damaged, "text_encoder", "config.json"));
        System.Environment.SetEnvironmentVariable(ModelCatalog.Variable, folder.Path);
        var text = await CliRun.OfAsync("models", "list");
        Assert.Contains("sprites", text.Out, StringComparison.Ordinal);
        Assert.Contains("models download pyramid-flow-miniflux --variant 384p|768p|image", text.Out, StringComparison.Ordinal);
        using var json = JsonDocument.Parse((await CliRun.OfAsync("models", "list", "--json")).Out);
        var installed = json.RootElement.GetProperty("installed").EnumerateArray().ToDictionary(m => m.GetProperty("name").GetString()!);
        Assert.Equal("384p", installed["whole"].GetProperty("runs")[0].GetString());
        Assert.Equal(0, installed["damaged"].GetProperty("runs").GetArrayLength());
        Assert.Contains("config.json does not exist", installed["damaged"].GetProperty("fault").GetString(), StringComparison.Ordinal);
        Assert.Equal(["pyramid-flow-miniflux", "pyramid-flow-sd3"], json.RootElement.GetProperty("downloadable").EnumerateArray().Select(m => m.GetProperty("name").GetString()));
    }

    [Fact]
    public async Task A_downloaded_checkpoint_generates()
    {
        using var hub = await HubAsync();
        System.Environment.SetEnvironmentVariable(ModelCatalog.Variable, folder.File("models"));
        var run = await CliRun.OfAsync("models", "download", HubRepository.Name, "--variant", "384p");
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Equal(folder.File("models/model"), run.Out.Trim());
        Assert.Contains("to use it: pyramidflow generate", run.Error, StringComparison.Ordinal);
        var generated = await CliRun.OfAsync("generate", "a ball", "--model", "model", "-o", folder.File("x.png"), "--frames", "1");
        Assert.True(generated.Code == ExitCode.Ok, generated.Error);
    }

    [Fact]
    public async Task A_download_that_is_refused_says_why_in_one_sentence_and_what_is_kept()
    {
        using var hub = await HubAsync();
        hub.Fault("text_encoder/config.json", (_, _) => HubReply.Text(403));
        var run = await CliRun.OfAsync("models", "download", HubRepository.Name, "-o", folder.File("out"), "--parallel", "1");
        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Empty(run.Out);
        var sentence = Assert.Single(run.Error.Split('\n'), line => line.StartsWith("error: ", StringComparison.Ordinal));
        Assert.Contains("accept its licence", sentence, StringComparison.Ordinal);
        Assert.Contains("the same command goes on from there", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cancelled_download_says_what_is_kept()
    {
        using var hub = await HubAsync();
        using var cancelled = new CancellationTokenSource();
        hub.Fault("causal_video_vae/config.json", (_, reply) =>
        {
            cancelled.Cancel();
            return reply with { Silent = true, DropAfter = 5 };
        });
        var run = await CliRun.OfAsync(cancelled.Token, "models", "download", HubRepository.Name, "-o", folder.File("out"), "--parallel", "1");
        Assert.Equal(ExitCode.Cancelled, run.Code);
        Assert.Contains("are kept in", run.Error, StringComparison.Ordinal);
        Assert.Equal(ExitCode.Ok, (await CliRun.OfAsync("models", "download", HubRepository.Name, "-o", folder.File("out"))).Code);
    }

    [Fact]
    public async Task An_unknown_name_is_refused_with_those_that_are_known() =>
        (await CliRun.OfAsync("models", "download", "pyramid")).AssertRefused("unknown model 'pyramid': use pyramid-flow-miniflux, pyramid-flow-sd3");

    [Fact]
    public async Task Convert_writes_another_type_that_generates()
    {
        var model = await RandomAsync("m");
        var run = await CliRun.OfAsync("models", "convert", model, folder.File("fp16"), "--dtype", "fp16");
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Contains("Float16", (await CliRun.OfAsync("models", "verify", folder.File("fp16"))).Out, StringComparison.Ordinal);
        var again = await CliRun.OfAsync("models", "convert", model, folder.File("fp16"));
        Assert.Equal(ExitCode.Failed, again.Code);
        Assert.Contains("is there and not empty", again.Error, StringComparison.Ordinal);
    }

    private async Task<string> RandomAsync(string name, params string[] more)
    {
        var run = await CliRun.OfAsync(["models", "random", folder.File(name), "--scale", "tiny", .. more]);
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        return folder.File(name);
    }

    private async Task<HubRepository> HubAsync()
    {
        var hub = new HubRepository();
        hub.AddFolder(await RandomAsync("served"));
        foreach (var name in Variables)
            System.Environment.SetEnvironmentVariable(name, null);
        System.Environment.SetEnvironmentVariable("HF_ENDPOINT", hub.Server.Address);
        System.Environment.SetEnvironmentVariable("HF_HOME", folder.Path);
        return hub;
    }
}
