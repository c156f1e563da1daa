using System.Diagnostics;

namespace PyramidFlow.Cli.Terminal;

/// <summary>
/// Progress on the error stream: one line redrawn in place on a terminal, else a plain line for each milestone and now and
/// then between.
/// </summary>
internal sealed class ProgressLine(CliConsole console) : IDisposable
{
    private const int BarCells = 20;
    private static readonly TimeSpan Redraw = TimeSpan.FromMilliseconds(80), Repeat = TimeSpan.FromSeconds(10), WorthSaying = TimeSpan.FromSeconds(2);

    private readonly long start = Stopwatch.GetTimestamp();
    private readonly Lock gate = new();
    private long last;
    private string milestone = "";
    private bool drawn;

    /// <summary>Reports progress.</summary>
    /// <param name="milestone">Its larger part, such as a phase or a unit.</param>
    /// <param name="detail">More about it; may be empty.</param>
    /// <param name="fraction">Share of the whole work done, 0 to 1.</param>
    /// <param name="left">Time left, or null to go by the pace so far.</param>
    public void Update(string milestone, string detail, double fraction, TimeSpan? left = null)
    {
        lock (gate)
        {
            var since = last == 0 ? TimeSpan.MaxValue : Stopwatch.GetElapsedTime(last);
            var changed = milestone != this.milestone;
            if (since < Redraw && !(changed && !console.IsTerminal) || (!console.IsTerminal && !changed && since < Repeat))
                return;
            (last, this.milestone) = (Stopwatch.GetTimestamp(), milestone);
            var text = $"{Percent(fraction),4} {milestone}{(detail.Length == 0 ? "" : ", " + detail)}{TimeLeft(fraction, left)}";
            if (console.IsTerminal)
                Draw(Bar(fraction) + text);
            else
                console.Note(text.TrimStart());
        }
    }

    /// <summary>Removes the line from a terminal; what is written next starts on a clean one.</summary>
    public void Clear()
    {
        lock (gate)
        {
            if (drawn)
                console.Error.Write("\r\e[K");
            drawn = false;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Clear();

    private static string Percent(double fraction) => FormattableString.Invariant($"{Math.Floor(100 * Math.Clamp(fraction, 0, 1)):F0}%");

    private static string Bar(double fraction)
    {
        var done = (int)(BarCells * Math.Clamp(fraction, 0, 1));
        return $"[{new string('#', done)}{new string('.', BarCells - done)}] ";
    }

    private string TimeLeft(double fraction, TimeSpan? left)
    {
        var elapsed = Stopwatch.GetElapsedTime(start);
        left ??= fraction > 0.01 ? elapsed * ((1 - fraction) / fraction) : TimeSpan.Zero;
        return left > WorthSaying ? $", {Durations.Text(left.Value)} left" : "";
    }

    private void Draw(string line)
    {
        // A line as wide as the terminal would wrap and could not be redrawn.
        console.Error.Write("\r" + (line.Length < console.Width ? line : line[..(console.Width - 1)]) + "\e[K");
        drawn = true;
    }
}
