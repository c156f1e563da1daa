using System.CommandLine;
using System.CommandLine.Parsing;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Terminal;

/// <summary>Reports parse errors as one sentence.</summary>
internal static class WrongUsage
{
    /// <summary>Whether the parser refused something, or took an unknown option for a prompt.</summary>
    public static bool In(ParseResult parsed) => parsed.Errors.Count > 0 || Slip(parsed) is not null;

    public static int Report(ParseResult parsed, CliConsole console)
    {
        var command = parsed.CommandResult.Command;
        console.Fail(Sentence(parsed, command));
        console.Note($"see {FullName(parsed.CommandResult)} --help");
        return ExitCode.WrongUsage;
    }

    private static string Sentence(ParseResult parsed, Command command)
    {
        if (parsed.UnmatchedTokens is [var token, ..])
            return Unmatched(token, parsed, command);
        if (Slip(parsed) is { } slip)
            return Unmatched(slip, parsed, command);
        var values = parsed.Errors.FirstOrDefault(e => e.SymbolResult is ArgumentResult or OptionResult);
        if (values is null && command.Subcommands.Count > 0)
            return $"{FullName(parsed.CommandResult)} needs a command: {string.Join(", ", command.Subcommands.Select(c => c.Name))}";
        if (values?.SymbolResult is OptionResult { Tokens.Count: 0, IdentifierToken.Value: var typed } option)
            return $"{typed} needs a value: {typed} {option.Option.HelpName}";
        if (command.Arguments.FirstOrDefault(a => a.Arity.MinimumNumberOfValues > (parsed.GetResult(a)?.Tokens.Count ?? 0)) is { } missing)
            return $"{FullName(parsed.CommandResult)} needs {missing.Name}: {missing.Description}";
        return (values ?? parsed.Errors[0]).Message.TrimEnd('.');
    }

    // The parser takes an unknown option for an argument where one is allowed; after -- that is intended.
    private static string? Slip(ParseResult parsed) => parsed.Tokens.Any(token => token.Type == TokenType.DoubleDash) ? null : parsed.CommandResult.Command.Arguments
        .SelectMany(argument => parsed.GetResult(argument)?.Tokens ?? [])
        .Select(token => token.Value)
        .FirstOrDefault(text => text.StartsWith('-') && text.Length > 1 && !text.Contains(' '));

    private static string Unmatched(string token, ParseResult parsed, Command command)
    {
        var isOption = token.StartsWith('-');
        if (!isOption && command.Arguments is [.., var argument])
        {
            return Slip(parsed) is { } slip
                ? Unmatched(slip, parsed, command)
                : $"'{token}' is one word too many: {(argument.Name == "PROMPT" ? "put the prompt in quotes" : "leave it out")}";
        }

        var names = isOption ? OptionNames(parsed.CommandResult) : command.Subcommands.Select(c => c.Name);
        var kind = isOption ? "option" : command.Subcommands.Count > 0 ? "command" : "argument";
        if (NearestName.FindTypo(token, names) is { } near)
            return $"unknown {kind} '{token}': did you mean {near}?";
        return kind == "command"
            ? $"unknown command '{token}': use {string.Join(", ", names)}"
            : $"unknown {kind} '{token}': leave it out";
    }

    private static IEnumerable<string> OptionNames(CommandResult result) =>
        result.Command.Options.SelectMany(o => o.Aliases.Prepend(o.Name)).Append("--verbose").Append("--help");

    /// <summary>The words that were typed to get to a command.</summary>
    public static string FullName(CommandResult result) => result.Parent is CommandResult parent
        ? $"{FullName(parent)} {result.Command.Name}"
        : result.Command.Name;
}
