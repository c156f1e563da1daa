using PyramidFlow.Cli.Commands;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub;

namespace PyramidFlow.Cli.Tests;

public class WritingLineTests
{
    [Fact]
    public void Below_one_percent_only_the_total_is_said()
    {
        using var error = new StringWriter();
        using (var line = new WritingLine(new CliConsole(TextWriter.Null, error)))
        {
            line.Report(new WorkProgress("diffusion_transformer", 256, 13_400_000));
            line.Report(new WorkProgress("causal_video_vae", 134_000, 13_400_000));
            line.Report(new WorkProgress("", 13_400_000, 13_400_000));
        }

        Assert.Equal(["0% diffusion_transformer, 13.4 MB", "1% causal_video_vae, 134 kB of 13.4 MB", "100% writing, 13.4 MB of 13.4 MB"],
            error.ToString().Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries));
    }
}
