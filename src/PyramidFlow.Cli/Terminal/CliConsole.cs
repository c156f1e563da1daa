using System.Text.Json;
using PyramidFlow.Media;
using Spectre.Console;

namespace PyramidFlow.Cli.Terminal;

/// <summary>Where a command writes: results to one stream, everything else to the other.</summary>
/// <param name="output">Results.</param>
/// <param name="error">Progress, notes, warnings and errors.</param>
/// <param name="isTerminal">Whether a person watches <paramref name="error"/>: colours and a progress line.</param>
/// <param name="width">Columns of that terminal.</param>
/// <param name="helpWidth">Columns that the help is wrapped to.</param>
/// <param name="bytes">Opens <paramref name="output"/> for bytes; null when a person watches it.</param>
internal sealed class CliConsole(TextWriter output, TextWriter error, bool isTerminal = false, int width = 80, int helpWidth = CliConsole.UsualHelpWidth, Func<Stream>? bytes = null)
{
    // Only the terminal wraps sentences: scripts and copied text get one line.
    private const int NoWrap = 4096;
    private const int UsualWidth = 80, LeastWidth = 20;
    private const int UsualHelpWidth = 100, LeastHelpWidth = 80, MostHelpWidth = 120;

    // Built on first use: the help needs neither.
    private readonly Lazy<IAnsiConsole> errorConsole = new(() => Build(error, isTerminal, NoWrap));

    public TextWriter Out { get; } = output;

    public TextWriter Error { get; } = error;

    public bool IsTerminal { get; } = isTerminal;

    public int Width { get; } = width;

    public int HelpWidth { get; } = helpWidth;

    /// <summary>The console of this process.</summary>
    public static CliConsole OfProcess()
    {
        var terminal = !Console.IsErrorRedirected && Environment.GetEnvironmentVariable("TERM") != "dumb";
        var width = terminal && Console.WindowWidth > 0 ? Console.WindowWidth : UsualWidth;
        return new CliConsole(Console.Out, Console.Error, terminal, Math.Max(LeastWidth, width), HelpColumns(Console.IsOutputRedirected ? 0 : Console.WindowWidth),
            Console.IsOutputRedirected ? StandardOutput.Open : null);
    }

    /// <summary>Columns of the help: those of the terminal within 80 to 120, or 100 without a terminal.</summary>
    /// <param name="terminal">Columns of the terminal that standard output goes to; 0 for none or an unknown width.</param>
    internal static int HelpColumns(int terminal) => terminal > 0 ? Math.Clamp(terminal, LeastHelpWidth, MostHelpWidth) : UsualHelpWidth;

    /// <summary>Whether bytes can be written where results go.</summary>
    public bool TakesBytes => bytes is not null;

    /// <summary>Where results go, for bytes.</summary>
    public Stream OpenBytes() => bytes!();

    /// <summary>A console that shows nothing, for a process that works for another one.</summary>
    public static CliConsole Silent() => new(TextWriter.Null, TextWriter.Null);

    /// <summary>One line of the result.</summary>
    public void Result(string line) => Out.WriteLine(line);

    /// <summary>A table of the result.</summary>
    public void Result(Table table)
    {
        var watched = IsTerminal && Out == Console.Out && !Console.IsOutputRedirected;
        Build(Out, watched, watched ? Width : NoWrap).Write(table);
    }

    /// <summary>Prints a note.</summary>
    public void Note(string text) => Error.WriteLine(text);

    /// <summary>Prints a warning; the command continues.</summary>
    public void Warn(string sentence) => errorConsole.Value.MarkupLineInterpolated($"[yellow]warning: {sentence}[/]");

    /// <summary>Prints why the command failed.</summary>
    public void Fail(string sentence) => errorConsole.Value.MarkupLineInterpolated($"[red]error:[/] {sentence}");

    private static IAnsiConsole Build(TextWriter writer, bool terminal, int width)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = terminal ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = terminal ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
        });
        console.Profile.Width = width;
        return console;
    }
}

/// <summary>JSON for scripts.</summary>
internal static class JsonText
{
    /// <summary>A property that is a list of strings.</summary>
    public static void Strings(this Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (var value in values)
            json.WriteStringValue(value);
        json.WriteEndArray();
    }
}
