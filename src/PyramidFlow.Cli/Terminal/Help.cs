using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace PyramidFlow.Cli.Terminal;

/// <summary>A command whose help shows its options in groups and ends with examples.</summary>
internal sealed class ExampledCommand(string name, string description, params string[] examples) : Command(name, description)
{
    private readonly List<(string Title, IReadOnlyList<Option> Options)> groups = [];

    /// <summary>Whole command lines.</summary>
    public IReadOnlyList<string> Examples { get; } = examples;

    /// <summary>Options that belong together, under their title; others stand before them.</summary>
    public IReadOnlyList<(string Title, IReadOnlyList<Option> Options)> Groups => groups;

    /// <summary>Adds options that belong together.</summary>
    public void Group(string title, params Option[] options)
    {
        groups.Add((title, options));
        foreach (var option in options)
            Options.Add(option);
    }
}

/// <summary>The content of a command's help, for the terminal and for the manual page.</summary>
internal static class HelpContent
{
    /// <summary>How a command is written, without the program and the commands before it.</summary>
    public static string Usage(Command command) =>
        string.Concat(command.Arguments.Select(a => a.Arity.MinimumNumberOfValues > 0 ? $" {a.Name}" : $" [{a.Name}]")) + (command.Subcommands.Count > 0 ? " COMMAND" : "") + " [options]";

    /// <summary>Its arguments, commands and options with what they are for, under titles; a section without rows is left out.</summary>
    /// <param name="command">The command.</param>
    /// <param name="recursive">Options of commands above it that hold for it too.</param>
    public static IReadOnlyList<(string Title, IReadOnlyList<(string Name, string Description)> Rows)> Sections(Command command, IEnumerable<Option> recursive)
    {
        var groups = (command as ExampledCommand)?.Groups ?? [];
        var grouped = groups.SelectMany(group => group.Options).ToHashSet();
        (string Title, IEnumerable<(string, string)> Rows)[] sections =
        [
            ("Arguments", command.Arguments.Select(a => (a.Name, a.Description ?? ""))),
            ("Commands", command.Subcommands.Where(c => !c.Hidden).Select(c => (c.Name, c.Description ?? ""))),
            ("Options", command.Options.Where(o => !grouped.Contains(o)).Concat(recursive).Select(Row)),
            .. groups.Select(group => (group.Title, group.Options.Select(Row))),
        ];
        return [.. sections.Select(section => (section.Title, (IReadOnlyList<(string, string)>)[.. section.Rows])).Where(section => section.Item2.Count > 0)];
    }

    private static (string, string) Row(Option option)
    {
        if (option is HelpOption)
            return ("-h, --help", "show this help");
        var names = string.Join(", ", option.Aliases.Append(option.Name));
        var value = option is Option<bool> or VersionOption ? "" : option.Arity.MinimumNumberOfValues == 0 ? $" [{option.HelpName}]" : $" {option.HelpName}";
        return (names + value, option is VersionOption ? "show the version" : option.Description ?? "");
    }
}

/// <summary>The help of a command: what it does, its options in groups, and examples.</summary>
/// <param name="width">Columns to wrap to.</param>
internal sealed class HelpWithExamples(int width) : SynchronousCommandLineAction
{
    /// <inheritdoc/>
    public override bool ClearsParseErrors => true;

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        var output = parseResult.InvocationConfiguration.Output;
        var result = parseResult.CommandResult;
        var command = result.Command;
        Write(output, "", command.Description ?? "");
        output.WriteLine();
        output.WriteLine($"Usage: {WrongUsage.FullName(result)}{HelpContent.Usage(command)}");
        var sections = HelpContent.Sections(command, result.Parent is null ? [] : parseResult.RootCommandResult.Command.Options.Where(o => o.Recursive));
        // Below a longer name, the description starts on the next line.
        var column = Math.Min(sections.SelectMany(section => section.Rows).Max(row => row.Item1.Length) + 4, width / 2);
        foreach (var (title, rows) in sections)
        {
            output.WriteLine();
            output.WriteLine(title + ":");
            foreach (var (name, description) in rows)
            {
                var head = "  " + name;
                if (head.Length + 2 > column)
                {
                    output.WriteLine(head);
                    head = "";
                }

                Write(output, head.PadRight(column), description);
            }
        }

        if (command is ExampledCommand { Examples.Count: > 0 } exampled)
        {
            output.WriteLine();
            output.WriteLine("Examples:");
            foreach (var example in exampled.Examples)
                output.WriteLine("  " + example);
        }

        return ExitCode.Ok;
    }

    // A paragraph behind a head, wrapped between words; further lines start below the first word.
    private void Write(TextWriter output, string head, string text)
    {
        var room = width - head.Length;
        var line = head;
        var used = 0;
        foreach (var word in text.Split(' '))
        {
            if (used > 0 && used + 1 + word.Length > room)
            {
                output.WriteLine(line.TrimEnd());
                (line, used) = (new string(' ', head.Length), 0);
            }

            line += used == 0 ? word : " " + word;
            used += word.Length + (used == 0 ? 0 : 1);
        }

        output.WriteLine(line.TrimEnd());
    }
}

/// <summary>Prints the program's version.</summary>
internal sealed class ShowVersion : SynchronousCommandLineAction
{
    /// <inheritdoc/>
    public override bool ClearsParseErrors => true;

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        parseResult.InvocationConfiguration.Output.WriteLine($"{About.Name} {About.Version}");
        return ExitCode.Ok;
    }
}

/// <summary>The program's name and version.</summary>
internal static class About
{
    public const string Name = "pyramidflow";

    /// <summary>Such as <c>0.1.0</c>.</summary>
    public static string Version => typeof(About).Assembly.GetName().Version!.ToString(3);
}
