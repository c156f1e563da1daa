using PyramidFlow.Cli.Terminal;
namespace PyramidFlow.Cli.Tests;

public class HelpTests
{
    [Theory]
    [InlineData("generate")]
    [InlineData("extend")]
    [InlineData("eval")]
    [InlineData("eval", "sprites")]
    [InlineData("train")]
    [InlineData("train", "vae")]
    [InlineData("train", "dit")]
    [InlineData("train", "lora")]
    [InlineData("train", "ship")]
    [InlineData("launch")]
    [InlineData("data")]
    [InlineData("data", "sprites")]
    [InlineData("data", "check")]
    [InlineData("extract")]
    [InlineData("extract", "latents")]
    [InlineData("extract", "text")]
    [InlineData("bench")]
    [InlineData("bench", "dit")]
    [InlineData("bench", "vae")]
    [InlineData("bench", "text")]
    [InlineData("bench", "train")]
    [InlineData("bench", "all")]
    [InlineData("bench", "plot")]
    [InlineData("plan")]
    [InlineData("models")]
    [InlineData("models", "list")]
    [InlineData("models", "verify")]
    [InlineData("models", "download")]
    [InlineData("models", "convert")]
    [InlineData("models", "random")]
    [InlineData("serve")]
    [InlineData("worker")]
    [InlineData("keys")]
    [InlineData("keys", "add")]
    [InlineData("keys", "list")]
    [InlineData("keys", "remove")]
    [InlineData("doctor")]
    public async Task Every_command_has_help_with_an_example(params string[] command)
    {
        var run = await CliRun.OfAsync([.. command, "--help"]);

        Assert.Equal(ExitCode.Ok, run.Code);
        Assert.Contains($"pyramidflow {string.Join(' ', command)}", run.Out, StringComparison.Ordinal);
        Assert.Contains("Examples:", run.Out, StringComparison.Ordinal);
        Assert.Empty(run.Error);
    }

    [Fact]
    public async Task Root_help_names_every_command()
    {
        var run = await CliRun.OfAsync("--help");

        Assert.Equal(ExitCode.Ok, run.Code);
        Assert.All((string[])["generate", "extend", "eval", "train", "launch", "data", "extract", "bench", "serve", "worker", "keys", "plan", "models", "doctor"], name => Assert.Contains($"  {name} ", run.Out, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Examples_in_the_help_parse()
    {
        foreach (var command in (string[])["generate", "extend", "eval sprites", "train vae", "train dit", "train lora", "train ship", "data sprites", "data check", "extract latents", "extract text", "bench dit", "bench vae", "bench text", "bench train", "bench all", "bench plot", "plan", "models list", "models verify", "models download", "models convert", "models random", "serve", "worker", "keys add", "doctor"])
        {
            var help = (await CliRun.OfAsync([.. command.Split(' '), "--help"])).Out;
            foreach (var example in help[help.IndexOf("Examples:", StringComparison.Ordinal)..].Split('\n').Skip(1).Where(line => line.Trim().Length > 0))
            {
                var words = System.CommandLine.Parsing.CommandLineParser.SplitCommandLine(example.Trim()).Skip(1);
                Assert.Equal(ExitCode.Ok, (await CliRun.OfAsync([.. words, "--help"])).Code);
                Assert.True((await CliRun.OfAsync([.. words, "--nonsense"])).Error.Contains("unknown option '--nonsense'", StringComparison.Ordinal), example);
            }
        }
    }

    [Theory]
    [InlineData("generate")]
    [InlineData("extend")]
    public async Task Options_stand_in_groups_and_lines_fit_the_terminal(string command)
    {
        using var output = new StringWriter();
        await CommandLine.RunAsync([command, "--help"], new CliConsole(output, TextWriter.Null, isTerminal: true, width: 100), TestContext.Current.CancellationToken);
        var help = output.ToString();

        Assert.All((string[])["\nLength and size:\n  --frames N ", "\nSampling:\n  --steps N,N,N ", "\nModel:\n  --model DIR|NAME "], group => Assert.Contains(group, help, StringComparison.Ordinal));
        Assert.All(help[..help.IndexOf("Examples:", StringComparison.Ordinal)].Split('\n'), line => Assert.InRange(line.Length, 0, 100));
    }

    [Fact]
    public async Task Version_goes_to_the_output()
    {
        var run = await CliRun.OfAsync("--version");

        Assert.Equal(ExitCode.Ok, run.Code);
        Assert.Matches(@"^pyramidflow \d+\.\d+\.\d+\s*$", run.Out);
    }
}
