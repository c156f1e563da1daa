using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Cli.Serving;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>serve</c>: the web page and the REST service.</summary>
internal static class ServeCommand
{
    public static Command Create(CliConsole console)
    {
        var host = CliOptions.Text("--host", "ADDRESS", "address to listen on [default: 127.0.0.1]");
        var port = CliOptions.Whole("--port", "N", "port to listen on; 0 takes a free one [default: 8188]", 0, ushort.MaxValue);
        var queue = new QueueOptions();
        var model = new ModelOptions();
        var command = new ExampledCommand("serve", "Serves the web page and the REST service, and makes the videos asked for.",
            $"{CommandLine.Name} serve", $"{CommandLine.Name} serve --port 9000 --data /srv/videos") { host, port };
        queue.AddTo(command);
        model.AddTo(command);
        command.SetAction((parsed, cancel) =>
        {
            var options = queue.Read(parsed, model.Read(parsed));
            return ServeRun.RunAsync(options with { Host = parsed.GetValue(host) ?? options.Host, Port = parsed.GetValue(port) ?? options.Port }, console, cancel);
        });
        return command;
    }
}
