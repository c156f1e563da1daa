using PyramidFlow.Cli.Terminal;

namespace PyramidFlow.Cli.Tests;

public class ProgressLineTests
{
    [Fact]
    public void Without_a_terminal_each_milestone_is_one_plain_line()
    {
        using var error = new StringWriter();
        using (var line = new ProgressLine(new CliConsole(TextWriter.Null, error)))
        {
            line.Update("loading", "", 0);
            line.Update("denoising unit 1/2", "step 1/9", 0.1);
            line.Update("denoising unit 1/2", "step 2/9", 0.2);
            line.Update("denoising unit 2/2", "step 1/9", 0.5);
        }

        Assert.Equal(["0% loading", "10% denoising unit 1/2, step 1/9", "50% denoising unit 2/2, step 1/9"],
            error.ToString().Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public void On_a_terminal_one_line_is_redrawn_within_its_width_and_taken_back()
    {
        using var error = new StringWriter();
        using (var line = new ProgressLine(new CliConsole(TextWriter.Null, error, isTerminal: true, width: 40)))
            line.Update("denoising unit 1/2", "a detail that does not fit into forty columns", 0.5);

        var text = error.ToString();
        Assert.DoesNotContain('\n', text);
        Assert.StartsWith("\r[##########..........]  50% denoising", text, StringComparison.Ordinal);
        Assert.EndsWith("\r\e[K", text, StringComparison.Ordinal);
        Assert.Equal(39, text.IndexOf('\e', StringComparison.Ordinal) - 1);
    }

    [Fact]
    public void Time_left_is_said_when_it_is_long()
    {
        using var error = new StringWriter();
        using var line = new ProgressLine(new CliConsole(TextWriter.Null, error));
        line.Update("training", "", 0.5, TimeSpan.FromSeconds(200));
        line.Update("almost", "", 0.99, TimeSpan.FromSeconds(1));

        Assert.Contains("3 min 20 s left", error.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("1.0 s left", error.ToString(), StringComparison.Ordinal);
    }
}
