using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Server;

namespace PyramidFlow.Cli.Serving;

/// <summary>The options that servers and workers share.</summary>
internal sealed class QueueOptions
{
    /// <summary>Holds a connection string, so that a password need not be seen in a list of processes.</summary>
    private const string Variable = "PYRAMIDFLOW_DATABASE";

    private readonly Option<string?> data = DataOption();
    private readonly Option<string?> database = CliOptions.Text("--database", "STRING", $"PostgreSQL connection string of the queue, the same for the server and all workers [default: {Variable}, else a file in --data]");
    private readonly Option<int?> lease = CliOptions.Whole("--lease", "SECONDS", "after how long without a sign of life a worker counts as dead [default: 30]", 1, 86400);

    /// <summary>The option that names the folder of videos, queue and keys.</summary>
    public static Option<string?> DataOption() => CliOptions.Text("--data", "DIR", "folder of videos, queue and keys; a mount that all machines share if there are several [default: pyramidflow-data]");

    /// <summary>The folder that an option names.</summary>
    public static string Folder(string? named) => named ?? "pyramidflow-data";

    public void AddTo(ExampledCommand command) => command.Group("Queue", data, database, lease);

    /// <summary>What was typed, for a server or a worker.</summary>
    /// <exception cref="UsageException">There is no such model or variant.</exception>
    public ServerOptions Read(ParseResult parsed, ModelArguments model)
    {
        // Checked at the start, and not when the first video is asked for.
        var first = model.Open().Root;
        var options = new ServerOptions
        {
            DataFolder = Folder(parsed.GetValue(data)),
            Database = parsed.GetValue(database) ?? (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } connection ? connection : null),
            Models = () => ServedModels.Of(first),
            Pipeline = model.Options() with { PreviewEvery = ServerOptions.DefaultPreviewInterval },
        };
        return parsed.GetValue(lease) is { } seconds ? options with { LeaseSeconds = seconds } : options;
    }
}
