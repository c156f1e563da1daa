using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public sealed class ElementTypeTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Plan_first_line_and_file_say_the_same_type_and_a_type_that_was_asked_for_stays_through_like()
    {
        RandomCheckpoint.Write(folder.File("model"), new RandomOptions("miniflux", RandomScale.Tiny), cancellationToken: Cancel);
        WideTransformer.Write(folder.File("model"), 256, Cancel);
        string[] model = ["--model", folder.File("model"), "--frames", "1"];

        // This machine decides which type it is.
        using var plan = JsonDocument.Parse((await OkAsync(["plan", .. model, "--speed", "100", "--json"])).Out);
        var (type, reason) = (plan.RootElement.GetProperty("dtype").GetString(), plan.RootElement.GetProperty("dtype_reason").GetString()!);
        var (noted, other) = type == "BFloat16" ? ("bf16", "fp32") : ("fp32", "bf16");
        Assert.Matches($"^{type!.ToLowerInvariant()}: products .* times as fast .* \\(--dtype {other} for ", reason);
        Assert.Contains(reason, (await OkAsync(["plan", .. model, "--speed", "100"])).Out, StringComparison.Ordinal);

        Assert.Equal(reason, FirstLine(await OkAsync(["generate", "a red ball", .. model, "-o", folder.File("a.png")])));
        Assert.Equal(noted, await NotedAsync("a.png"));

        var asked = await OkAsync(["generate", "a red ball", .. model, "--dtype", other, "-o", folder.File("b.png")]);
        Assert.Equal($"{(other == "bf16" ? "bfloat16" : "float32")}: asked for", FirstLine(asked));
        Assert.Equal(other, await NotedAsync("b.png"));
        await OkAsync(["generate", "--like", folder.File("b.png"), "--model", folder.File("model"), "-o", folder.File("c.png")]);
        Assert.Equal(other, await NotedAsync("c.png"));
        Assert.Equal(await File.ReadAllBytesAsync(folder.File("b.png"), Cancel), await File.ReadAllBytesAsync(folder.File("c.png"), Cancel));
    }

    [Fact]
    public async Task The_small_model_of_the_repository_stays_in_float32_and_a_batch_says_so_once()
    {
        var batch = folder.Write("prompts.txt", "a red circle\na blue square\n");
        var run = await OkAsync(["generate", "--batch", batch, "-o", folder.File("out"), "--frames", "1", "--steps", "1,1,1"]);

        Assert.StartsWith("float32: so small a transformer is no faster in bfloat16 (--dtype bf16 for bfloat16)\n", run.Error, StringComparison.Ordinal);
        Assert.Single(run.Error.Split('\n'), line => line.StartsWith("float32: ", StringComparison.Ordinal));
    }

    private static string FirstLine(CliRun run) => run.Error.Split('\n')[0];

    private static async Task<CliRun> OkAsync(string[] arguments)
    {
        var run = await CliRun.OfAsync(arguments);
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        return run;
    }

    private async Task<string?> NotedAsync(string file) => GenerationNotes.Read(await MediaMetadata.ReadAsync(folder.File(file), Cancel))!.Dtype;
}
