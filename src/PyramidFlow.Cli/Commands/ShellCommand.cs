using System.CommandLine;
using System.Globalization;
using PyramidFlow.Cli.Terminal;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>completion</c> and <c>man</c>: the command line for the shell and the manual of the system, both made from the commands themselves.</summary>
internal static class ShellCommand
{
    private static readonly (string Shell, string Script)[] Scripts =
    [
        ("bash", """
            _pyramidflow() {
                local IFS=$'\n'
                COMPREPLY=($(compgen -W "$(pyramidflow "[suggest:$COMP_POINT]" "$COMP_LINE" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
            }
            complete -o default -F _pyramidflow pyramidflow
            """),
        ("zsh", """
            #compdef pyramidflow
            _pyramidflow() {
                local -a found
                found=("${(@f)$(pyramidflow "[suggest:$CURSOR]" "$BUFFER" 2>/dev/null)}")
                [[ -n $found ]] && compadd -a found || _files
            }
            compdef _pyramidflow pyramidflow
            """),
        ("fish", """
            complete -c pyramidflow -a '(pyramidflow "[suggest:"(commandline -C)"]" (commandline -p) 2>/dev/null)'
            """),
    ];

    /// <summary>The question of a completion script, <c>[suggest:POSITION] LINE</c> as System.CommandLine writes it; null for any other command line.</summary>
    /// <param name="arguments">The arguments of the program.</param>
    /// <returns>The line without the program's name, and the position of the cursor in it.</returns>
    public static (string Line, int Position)? Asked(IReadOnlyList<string> arguments)
    {
        if (arguments is not [['[', 's', 'u', 'g', 'g', 'e', 's', 't', ':', .. var number, ']'], var line] || !int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var position))
            return null;
        var program = line.IndexOf(' ', StringComparison.Ordinal) + 1;
        return program == 0 ? ("", 0) : (line[program..], Math.Clamp(position - program, 0, line.Length - program));
    }

    /// <summary>The command that prints the script of a shell.</summary>
    public static Command Completion(CliConsole console)
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish" };
        shell.AcceptOnlyFromAmong([.. Scripts.Select(script => script.Shell)]);
        var command = new ExampledCommand("completion", "Prints a script that completes commands and options in a shell.",
            $"source <({About.Name} completion bash)                 # in ~/.bashrc",
            $"source <({About.Name} completion zsh)                  # in ~/.zshrc, behind compinit",
            $"{About.Name} completion fish > ~/.config/fish/completions/{About.Name}.fish") { shell };
        command.SetAction(parsed =>
        {
            console.Out.WriteLine(Scripts.First(script => script.Shell == parsed.GetValue(shell)).Script);
            return ExitCode.Ok;
        });
        return command;
    }

    /// <summary>The command that prints the manual page.</summary>
    public static Command Man(CliConsole console)
    {
        var command = new ExampledCommand("man", "Prints the manual page of all commands.",
            $"{About.Name} man | man -l -",
            $"{About.Name} man > ~/.local/share/man/man1/{About.Name}.1");
        command.SetAction(parsed =>
        {
            new ManualPage(console.Out).Write(parsed.RootCommandResult.Command);
            return ExitCode.Ok;
        });
        return command;
    }
}

/// <summary>The help of all commands as a manual page, in the macros of <c>man(7)</c>.</summary>
/// <param name="output">Takes the page.</param>
internal sealed class ManualPage(TextWriter output)
{
    /// <summary>Writes the page.</summary>
    /// <param name="root">The program.</param>
    public void Write(Command root)
    {
        output.WriteLine($".TH {root.Name.ToUpperInvariant()} 1 \"\" \"{root.Name} {About.Version}\" \"User Commands\"");
        output.WriteLine(".SH NAME");
        output.WriteLine($"{Text(root.Name)} \\- {Text(root.Description ?? "")}");
        output.WriteLine(".SH SYNOPSIS");
        output.WriteLine($".B {Text(root.Name)}");
        output.WriteLine("COMMAND [options]");
        output.WriteLine(".SH DESCRIPTION");
        Body(root);
        Commands(root, root.Name);
    }

    private void Commands(Command above, string path)
    {
        foreach (var command in above.Subcommands.Where(command => !command.Hidden))
        {
            var name = $"{path} {command.Name}";
            output.WriteLine($".SH {Text(name).ToUpperInvariant()}");
            output.WriteLine($".B {Text(name)}");
            output.WriteLine(Text(HelpContent.Usage(command)));
            output.WriteLine(".PP");
            output.WriteLine(Text(command.Description ?? ""));
            Body(command);
            Commands(command, name);
        }
    }

    // Arguments, options and examples. Commands have sections of their own.
    private void Body(Command command)
    {
        foreach (var (title, rows) in HelpContent.Sections(command, []).Where(section => section.Title != "Commands"))
        {
            output.WriteLine($".SS {Text(title)}");
            foreach (var (name, description) in rows)
            {
                output.WriteLine(".TP");
                output.WriteLine($".B {Text(name)}");
                output.WriteLine(Text(description));
            }
        }

        if (command is not ExampledCommand { Examples: { Count: > 0 } examples })
            return;
        output.WriteLine(".SS Examples");
        output.WriteLine(".nf");
        foreach (var example in examples)
            output.WriteLine(Text(example));
        output.WriteLine(".fi");
    }

    // A backslash begins an escape, a dash is a hyphen unless it is escaped, and a point or quote at the start of a line begins a macro.
    private static string Text(string text)
    {
        text = text.Trim().Replace("\\", "\\e", StringComparison.Ordinal).Replace("-", "\\-", StringComparison.Ordinal);
        return text is ['.' or '\'', ..] ? "\\&" + text : text;
    }
}
