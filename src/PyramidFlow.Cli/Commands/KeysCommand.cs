using System.CommandLine;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>keys</c>: who may use a server that others can reach.</summary>
internal static class KeysCommand
{
    private const string Name = $"{About.Name} keys", AdminOption = "--admin";

    public static Command Create(CliConsole console) => new ExampledCommand("keys", "Makes, lists and removes the API keys of a server; without any, only this machine may use it.",
        $"{Name} add alice", $"{Name} limit alice --max-per-day 20", $"{Name} remove alice")
    {
        Add(console), Limit(), List(console), Remove(console),
    };

    private static ExampledCommand Add(CliConsole console)
    {
        var (name, data, limits) = (NameArgument(), QueueOptions.DataOption(), new KeyLimitOptions());
        var admin = CliOptions.Flag(AdminOption, "the key of an administrator: it also shows workers, disk, keys and the videos of all keys, and cancels those");
        var command = new ExampledCommand("add", "Makes a key and prints it, this once: only its hash is kept.", $"{Name} add alice", $"{Name} add bob --max-per-day 20 --max-active 3", $"{Name} add carol {AdminOption}") { name, data, admin };
        limits.AddTo(command);
        command.SetAction((parsed, _) =>
        {
            try
            {
                console.Result(Keys(parsed, data).Add(parsed.GetRequiredValue(name), limits.Read(parsed), parsed.GetValue(admin)));
                return Task.FromResult(ExitCode.Ok);
            }
            catch (ServiceOptionException e)
            {
                throw CommandFault.ValueRefused(e);
            }
        });
        return command;
    }

    private static ExampledCommand Limit()
    {
        var (name, data, limits) = (NameArgument(), QueueOptions.DataOption(), new KeyLimitOptions());
        var command = new ExampledCommand("limit", "Sets the limits of a key at once; those that are left out become those of the server.", $"{Name} limit alice --max-per-day 20", $"{Name} limit alice") { name, data };
        limits.AddTo(command);
        command.SetAction((parsed, _) => Keys(parsed, data).Limit(parsed.GetRequiredValue(name), limits.Read(parsed))
            ? Task.FromResult(ExitCode.Ok)
            : throw CommandFault.UnknownKey(parsed.GetRequiredValue(name), Name));
        return command;
    }

    private static ExampledCommand List(CliConsole console)
    {
        var data = QueueOptions.DataOption();
        var command = new ExampledCommand("list", "Names the keys there are, with their limits.", $"{Name} list") { data };
        command.SetAction((parsed, _) =>
        {
            var keys = Keys(parsed, data);
            foreach (var name in keys.Names)
                console.Result(name + (keys.IsAdmin(name) ? $" {AdminOption}" : "") + KeyLimitOptions.Written(keys.LimitsOf(name)));
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

/// <summary>The options that limit one key.</summary>
internal sealed class KeyLimitOptions
{
    private const string Active = "--max-active", Day = "--max-per-day", Minute = "--max-per-minute";
    private readonly Option<int?> active = CliOptions.Whole(Active, "N", "videos of this key that may wait or be made at a time [default: the server's]", 1);
    private readonly Option<int?> day = CliOptions.Whole(Day, "N", "new videos that this key may ask for in 24 hours [default: the server's]", 1);
    private readonly Option<int?> minute = CliOptions.Whole(Minute, "N", "new videos that this key may ask for in a minute [default: the server's]", 1);

    public void AddTo(ExampledCommand command) => command.Group("Limits", active, day, minute);

    public KeyLimits Read(ParseResult parsed) => new(parsed.GetValue(active), parsed.GetValue(day), parsed.GetValue(minute));

    /// <summary>Limits as they are typed, after a name; empty for none.</summary>
    public static string Written(KeyLimits limits) =>
        string.Concat(new[] { (Active, limits.MaxActive), (Day, limits.MaxPerDay), (Minute, limits.MaxPerMinute) }.Where(each => each.Item2 is not null).Select(each => FormattableString.Invariant($" {each.Item1} {each.Item2}")));
}
