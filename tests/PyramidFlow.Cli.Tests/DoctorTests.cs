using System.Text.Json;
using PyramidFlow.Cli.Commands;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Tests;

public class DoctorTests
{
    [Fact]
    public async Task Table_names_what_was_looked_at()
    {
        var run = await CliRun.OfAsync("doctor");

        Assert.All((string[])[".NET", "libtorch", "ffmpeg", "model sprites", "disk"], name => Assert.Contains(name, run.Out, StringComparison.Ordinal));
        Assert.Empty(run.Error);
    }

    [Fact]
    public async Task What_computes_convolutions_is_said_as_this_libtorch_was_found()
    {
        using var json = JsonDocument.Parse((await CliRun.OfAsync("doctor", "--json")).Out);

        var check = Assert.Single(json.RootElement.GetProperty("checks").EnumerateArray(), check => check.GetProperty("name").GetString() == "convolutions");
        Assert.Equal(TorchFindings.Convolutions(TorchRuntime.IsOneDnnWrong).Value, check.GetProperty("value").GetString());
    }

    [Fact]
    public void A_faulty_oneDNN_is_a_note_that_says_what_it_costs_and_a_right_one_is_ok()
    {
        var (faulty, right) = (TorchFindings.Convolutions(true), TorchFindings.Convolutions(false));

        Assert.Equal((FindingState.Optional, FindingState.Ok), (faulty.State, right.State));
        Assert.Contains("slower in training a VAE; another libtorch avoids it", faulty.Value, StringComparison.Ordinal);
        Assert.Equal("libtorch's, which passed a check", right.Value);
    }

    [Fact]
    public async Task Json_says_of_everything_missing_how_to_get_it_and_the_exit_code_agrees()
    {
        var run = await CliRun.OfAsync("doctor", "--json");
        using var json = JsonDocument.Parse(run.Out);

        Assert.Equal(json.RootElement.GetProperty("ok").GetBoolean() ? ExitCode.Ok : ExitCode.Failed, run.Code);
        var checks = json.RootElement.GetProperty("checks").EnumerateArray().ToList();
        Assert.Contains(checks, check => check.GetProperty("name").GetString() == "libtorch");
        Assert.All(checks.Where(check => check.GetProperty("state").GetString() == "missing"),
            check => Assert.NotEmpty(check.GetProperty("fix").GetString()!));
    }
}
