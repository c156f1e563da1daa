using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Cli.Serving;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>worker</c>: makes what the queue of a server holds.</summary>
internal static class WorkerCommand
{
    public static Command Create(CliConsole console)
    {
        var queue = new QueueOptions();
        var model = new ModelOptions();
        var command = new ExampledCommand("worker", "Joins the queue of a server and makes videos from it, one at a time.",
            $"{CommandLine.Name} worker --data /mnt/videos --database \"Host=db;Database=videos;Username=videos\" --device cuda:0");
        queue.AddTo(command);
        model.AddTo(command);
        command.SetAction((parsed, cancel) => ServeRun.WorkAsync(queue.Read(parsed, model.Read(parsed)), console, cancel));
        return command;
    }
}
