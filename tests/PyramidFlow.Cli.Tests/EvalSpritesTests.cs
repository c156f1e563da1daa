using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public class EvalSpritesTests(TinyModel model) : IClassFixture<TinyModel>
{
    [Fact]
    public async Task Json_has_the_share_of_every_attribute()
    {
        var run = await CliRun.OfAsync("eval", "sprites", "--count", "2", "--seed", "3", "--model", model.Folder, "--json");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        using var json = JsonDocument.Parse(run.Out);
        Assert.Equal(2, json.RootElement.GetProperty("count").GetInt32());
        Assert.All((string[])["colour", "shape", "size", "motion", "background", "all"],
            name => Assert.InRange(json.RootElement.GetProperty(name).GetDouble(), 0, 1));
        Assert.InRange(json.RootElement.GetProperty("psnr").GetDouble(), 0, 60);
    }

    [Fact]
    public async Task Clips_are_sampled_as_the_options_say()
    {
        using var folder = new TemporaryFolder();
        string[] command = ["eval", "sprites", "--count", "1", "--steps", "2,2,2", "--video-steps", "2,2,2", "--json", "--sheet"];
        var exact = await CliRun.OfAsync([.. command, folder.File("exact.png")]);
        var other = await CliRun.OfAsync([.. command, folder.File("other.png"), "--reuse-prefix", "2"]);

        Assert.All([exact, other], run => Assert.True(run.Code == ExitCode.Ok, run.Error));
        Assert.NotEqual(await File.ReadAllBytesAsync(folder.File("exact.png"), TestContext.Current.CancellationToken), await File.ReadAllBytesAsync(folder.File("other.png"), TestContext.Current.CancellationToken));
        (await CliRun.OfAsync("eval", "sprites", "--model", model.Folder, "--steps", "2,2")).AssertRefused("2 numbers for 3 stages");
    }

    [Theory]
    [InlineData("extension", "kept", "joint")]
    [InlineData("schedule", "turned", "motion_before")]
    [InlineData("long", "unit_2", "unit_16")]
    public async Task Other_modes_have_figures_of_their_own(string mode, params string[] names)
    {
        var run = await CliRun.OfAsync("eval", "sprites", "--mode", mode, "--count", "1", "--model", model.Folder, "--json");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        using var json = JsonDocument.Parse(run.Out);
        Assert.All(names, name => Assert.InRange(json.RootElement.GetProperty(name).GetDouble(), 0, name == "joint" ? 255 : 1));
    }

    [Fact]
    public async Task Table_and_sheet_of_the_same_clips()
    {
        using var folder = new TemporaryFolder();
        var run = await CliRun.OfAsync("eval", "sprites", "--count", "1", "--model", model.Folder, "--sheet", folder.File("sheet.png"));

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        Assert.Contains("all right together", run.Out, StringComparison.Ordinal);
        Assert.Contains(" dB", run.Out, StringComparison.Ordinal);
        Assert.Equal(66 + 2, (await ImageReader.ReadAsync(folder.File("sheet.png"), cancellationToken: TestContext.Current.CancellationToken)).Height);
    }

    [Fact]
    public async Task Runs_that_kept_no_weights_are_refused()
    {
        using var folder = new TemporaryFolder();
        folder.Write("dit/metrics.jsonl", "");
        (await CliRun.OfAsync("eval", "checkpoints", "--out", folder.Path)).AssertRefused("keep_steps");
    }
}
