using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Cli.Serving;
using PyramidFlow.Server;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>serve</c>: the web page and the REST service.</summary>
internal static class ServeCommand
{
    public static Command Create(CliConsole console)
    {
        var host = CliOptions.Text("--host", "ADDRESS", $"address to listen on; any but this machine's own needs a key ({CommandLine.Name} keys add) [default: 127.0.0.1]");
        var port = CliOptions.Whole("--port", "N", $"port to listen on; 0 takes a free one [default: {ServerOptions.DefaultPort}]", 0, ushort.MaxValue);
        var allowed = CliOptions.Text("--allow-host", "NAME,NAME", "names the service answers to, such as those of a proxy in front of it");
        var proxies = CliOptions.Text("--proxy", "ADDRESS,ADDRESS", "proxies in front of it, as addresses or networks: what they say of visitors (X-Forwarded-For, -Proto, -Host) is believed");
        var noWorker = CliOptions.Flag("--no-worker", "make no videos here: leave them to workers");
        var (queue, limits, model) = (new QueueOptions(), new LimitOptions(), new ModelOptions());
        var command = new ExampledCommand("serve", "Serves the web page and the REST service, and makes the videos asked for.",
            $"{CommandLine.Name} serve",
            $"{CommandLine.Name} serve --host 0.0.0.0 --data /srv/videos --keep-days 30",
            $"{CommandLine.Name} serve --no-worker --data /mnt/videos --database \"Host=db;Database=videos;Username=videos\"") { host, port, allowed, proxies, noWorker };
        queue.AddTo(command);
        limits.AddTo(command);
        model.AddTo(command);
        command.SetAction((parsed, cancel) =>
        {
            var options = limits.Read(parsed, queue.Read(parsed, model.Read(parsed)));
            return ServeRun.ServeAsync(options with
            {
                Host = parsed.GetValue(host) ?? options.Host,
                Port = parsed.GetValue(port) ?? options.Port,
                AllowedHosts = Listed(parsed.GetValue(allowed)),
                Proxies = Listed(parsed.GetValue(proxies)),
                RunsWorker = !parsed.GetValue(noWorker),
            }, console, cancel);
        });
        return command;
    }

    private static string[] Listed(string? text) => text?.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) ?? [];
}
