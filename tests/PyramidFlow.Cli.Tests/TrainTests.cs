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
    [InlineData("steps", "use KEY=VALUE")]
    [InlineData("=3", "use KEY=VALUE")]
    public async Task A_setting_without_key_or_value_is_refused(string setting, string fix) =>
        (await CliRun.OfAsync("train", "dit", "--config", "c.json", "--set", setting, "--out", "runs/x")).AssertRefused($"--set cannot be {setting}", fix);

    [Theory]
    [InlineData("vae")]
    [InlineData("dit")]
    [InlineData("lora")]
    public async Task An_unknown_key_of_a_setting_is_one_of_the_configuration(string what)
    {
        using var folder = new TemporaryFolder();
        var config = folder.Write("c.json", "{ \"data\": { \"annotations\": \"a.jsonl\" } }");
        var run = await CliRun.OfAsync("train", what, "--config", config, "--set", "steps=3", "--set", "data.worker=3", "--out", folder.File("run"));

        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Contains($"{config}: unknown key worker in data, the nearest one there is workers", run.Error, StringComparison.Ordinal);
    }

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
