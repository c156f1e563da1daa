using System.Text.Json;

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
