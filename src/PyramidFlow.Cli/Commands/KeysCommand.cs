using System.CommandLine;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>keys</c>: who may use a server that others can reach.</summary>
internal static class KeysCommand
{
    private const string Name = $"{About.Name} keys";

    public static Command Create(CliConsole console) => new ExampledCommand("keys", "Makes, lists and removes the API keys of a server; without any, only this machine may use it.",
        $"{Name} add alice", $"{Name} remove alice")
    {
        Add(console), List(console), Remove(console),
    };

    private static ExampledCommand Add(CliConsole console)
    {
        var (name, data) = (NameArgument(), QueueOptions.DataOption());
        var command = new ExampledCommand("add", "Makes a key and prints it, this once: only its hash is kept.", $"{Name} add alice") { name, data };
        command.SetAction((parsed, _) =>
        {
            try
            {
                console.Result(Keys(parsed, data).Add(parsed.GetRequiredValue(name)));
                return Task.FromResult(ExitCode.Ok);
            }
            catch (ServiceOptionException e)
            {
                throw CommandFault.ValueRefused(e);
            }
        });
        return command;
    }

    private static ExampledCommand List(CliConsole console)
    {
        var data = QueueOptions.DataOption();
        var command = new ExampledCommand("list", "Names the keys there are.", $"{Name} list") { data };
        command.SetAction((parsed, _) =>
        {
            foreach (var name in Keys(parsed, data).Names)
                console.Result(name);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }

    private static ExampledCommand Remove(CliConsole console)
    {
        var (name, data) = (NameArgument(), QueueOptions.DataOption());
        var command = new ExampledCommand("remove", "Makes a key worthless at once; a running server sees it, and stops videos of it that are not made yet.", $"{Name} remove alice") { name, data };
        command.SetAction((parsed, _) => Keys(parsed, data).Remove(parsed.GetRequiredValue(name))
            ? Task.FromResult(ExitCode.Ok)
            : throw CommandFault.UnknownKey(parsed.GetRequiredValue(name), Name));
        return command;
    }

    private static Argument<string> NameArgument() => new("NAME") { Description = "who the key is for" };

    private static ApiKeys Keys(ParseResult parsed, Option<string?> data) => new(QueueOptions.Folder(parsed.GetValue(data)));
}
