using System.Diagnostics;
using PyramidFlow.Cli.Terminal;

namespace PyramidFlow.Cli.Tests;

/// <summary>What the program gives to shells and to the manual of the system.</summary>
public sealed class ShellTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("pyramidflow gen", "generate")]
    [InlineData("pyramidflow train in", "init")]
    [InlineData("pyramidflow generate --video-st", "--video-steps")]
    [InlineData("pyramidflow completion f", "fish")]
    [InlineData("pyramidflow generate --solver second", "second-order")]
    public async Task Bash_completes_commands_options_and_values(string line, string expected)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "bash is asked");
        var program = typeof(CommandLine).Assembly.Location;
        var script = (await CliRun.OfAsync("completion", "bash")).Out;
        var words = line.Split(' ');
        using var bash = Process.Start(new ProcessStartInfo("bash", ["-c", $$"""
            pyramidflow() { dotnet '{{program}}' "$@"; }
            {{script}}
            COMP_LINE='{{line}}' COMP_POINT={{line.Length}} COMP_WORDS=({{line}}) COMP_CWORD={{words.Length - 1}}
            _pyramidflow
            printf '%s\n' "${COMPREPLY[@]}"
            """]) { RedirectStandardOutput = true })!;
        var completed = await bash.StandardOutput.ReadToEndAsync(Cancel);
        await bash.WaitForExitAsync(Cancel);
        Assert.Contains(expected, completed.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.All(completed.Split('\n', StringSplitOptions.RemoveEmptyEntries), found => Assert.StartsWith(words[^1], found, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Every_shell_that_help_names_has_a_script()
    {
        foreach (var shell in (string[])["bash", "zsh", "fish"])
        {
            var run = await CliRun.OfAsync("completion", shell);
            Assert.Equal(ExitCode.Ok, run.Code);
            Assert.Contains("[suggest:", run.Out, StringComparison.Ordinal);
        }

        (await CliRun.OfAsync("completion", "tcsh")).AssertRefused("tcsh");
    }

    [Fact]
    public async Task The_manual_page_has_every_command_and_only_known_macros()
    {
        var run = await CliRun.OfAsync("man");
        var lines = run.Out.TrimEnd().Split('\n');
        Assert.StartsWith(".TH PYRAMIDFLOW 1", lines[0], StringComparison.Ordinal);
        Assert.All(lines.Where(line => line is ['.' or '\'', ..]), line => Assert.Matches(@"^\.(TH|SH|SS|TP|PP|B|nf|fi)( |$)", line));
        foreach (var command in (string[])["GENERATE", "TRAIN DISTILL", "MODELS DOWNLOAD", "KEYS ADD", "MAN"])
            Assert.Contains($".SH PYRAMIDFLOW {command}", lines);
        Assert.Contains(lines, line => line.StartsWith(@".B \-\-video\-steps", StringComparison.Ordinal));
        Assert.DoesNotContain("--", run.Out, StringComparison.Ordinal);
    }
}
