using PyramidFlow.Cli.Terminal;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public class TrainTests
{
    [Theory]
    [InlineData("vae")]
    [InlineData("dit")]
    [InlineData("lora")]
    public async Task Missing_configuration_is_refused(string what) =>
        (await CliRun.OfAsync("train", what, "--config", "no-such.json", "--out", "runs/x")).AssertRefused("no-such.json does not exist", "configs/");

    [Theory]
    [InlineData("vae")]
    [InlineData("dit")]
    [InlineData("lora")]
    public async Task Malformed_configuration_fails_with_one_sentence(string what)
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(folder.File("c.json"), "{ \"nonsense\": 1 }", TestContext.Current.CancellationToken);
        var run = await CliRun.OfAsync("train", what, "--config", folder.File("c.json"), "--out", folder.File("run"));

        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Contains("c.json", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("unexpected", run.Error, StringComparison.Ordinal);
    }
}
