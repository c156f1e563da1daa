using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Server;

namespace PyramidFlow.Cli.Serving;

/// <summary>The options that servers and workers share.</summary>
internal sealed class QueueOptions
{
    private readonly Option<string?> data = CliOptions.Text("--data", "DIR", "folder of the videos, on a mount all machines share if there are several [default: pyramidflow-data]");

    public void AddTo(ExampledCommand command) => command.Group("Queue", data);

    /// <summary>What was typed, for a server or a worker.</summary>
    public ServerOptions Read(ParseResult parsed, ModelArguments model)
    {
        // Checked at the start, and not when the first video is asked for.
        model.Open();
        var first = model.Name ?? ModelCatalog.Default;
        return new ServerOptions
        {
            DataFolder = parsed.GetValue(data) ?? "pyramidflow-data",
            Models = () => ServedModels.Of(first),
            Pipeline = model.Options(),
        };
    }
}
