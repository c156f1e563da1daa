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
    [InlineData("train", "export")]
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
    [InlineData("completion")]
    [InlineData("man")]
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
        Assert.All((string[])["generate", "extend", "eval", "train", "launch", "data", "extract", "bench", "serve", "worker", "keys", "plan", "models", "doctor", "completion", "man"], name => Assert.Contains($"  {name} ", run.Out, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Examples_in_the_help_parse()
    {
        foreach (var command in (string[])["generate", "extend", "eval sprites", "train vae", "train dit", "train lora", "train export", "data sprites", "data check", "extract latents", "extract text", "bench dit", "bench vae", "bench text", "bench train", "bench all", "bench plot", "plan", "models list", "models verify", "models download", "models convert", "models random", "serve", "worker", "keys add", "doctor"])
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
    [InlineData("generate", 100)]
    [InlineData("generate", 80)]
    [InlineData("generate", 120)]
    [InlineData("extend", 100)]
    [InlineData("eval sprites", 80)]
    [InlineData("bench all", 80)]
    [InlineData("serve", 80)]
    public async Task Lines_of_the_help_fit_the_width(string command, int width)
    {
        var help = await HelpAsync(command, width);

        Assert.All(help[..help.IndexOf("Examples:", StringComparison.Ordinal)].Split('\n'), line => Assert.InRange(line.Length, 0, width));
    }

    [Theory]
    [InlineData("generate")]
    [InlineData("extend")]
    public async Task Options_stand_in_groups(string command)
    {
        var help = await HelpAsync(command, 100);

        Assert.All((string[])["\nLength and size:\n  --frames N ", "\nSampling:\n  --steps N,N,N ", "\nModel:\n  --model DIR|NAME "], group => Assert.Contains(group, help, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_wider_terminal_makes_the_help_shorter_and_says_the_same()
    {
        var (narrow, wide) = (await HelpAsync("generate", 80), await HelpAsync("generate", 120));

        Assert.True(wide.Count(c => c == '\n') < narrow.Count(c => c == '\n'));
        Assert.Equal(Words(wide), Words(narrow));

        static string[] Words(string text) => text.Split([' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries);
    }

    [Theory]
    [InlineData(0, 100)]
    [InlineData(40, 80)]
    [InlineData(80, 80)]
    [InlineData(97, 97)]
    [InlineData(300, 120)]
    public void The_help_has_80_to_120_columns_and_100_without_a_terminal(int terminal, int columns) => Assert.Equal(columns, CliConsole.HelpColumns(terminal));

    [Fact]
    public async Task Version_goes_to_the_output()
    {
        var run = await CliRun.OfAsync("--version");

        Assert.Equal(ExitCode.Ok, run.Code);
        Assert.Matches(@"^pyramidflow \d+\.\d+\.\d+\s*$", run.Out);
    }

    private static async Task<string> HelpAsync(string command, int width)
    {
        using var output = new StringWriter();
        await CommandLine.RunAsync([.. command.Split(' '), "--help"], new CliConsole(output, TextWriter.Null, helpWidth: width), TestContext.Current.CancellationToken);
        return output.ToString();
    }
}
