using PyramidFlow.Cli.Benchmarks;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Cli.Generating;

/// <summary>A run that launch, torchrun, srun or mpirun may have started several processes for, which make each video together.</summary>
internal static class SharedRun
{
    /// <summary>Meets the other processes, if there are some, and does the run.</summary>
    /// <param name="model">The model as typed.</param>
    /// <param name="console">Receives what the run says, on rank zero; the others say only why they end.</param>
    /// <param name="work">The run, with the model as this process takes part in it, a console and a line for its progress.</param>
    /// <param name="cancellationToken">Stops the waiting.</param>
    /// <param name="others">Transformers of further models that may be used.</param>
    /// <exception cref="UsageException">Ways are asked for, and there is one process.</exception>
    public static async Task<int> OfAsync(ModelArguments model, CliConsole console, Func<ModelArguments, CliConsole, ProgressLine, Task<int>> work, CancellationToken cancellationToken,
        Func<IEnumerable<ITransformerConfig>>? others = null)
    {
        using var line = new ProgressLine(console);
        using var group = await LaunchedProcess.JoinAsync(line, model.Device ?? "cpu", cancellationToken).ConfigureAwait(false);
        if (group is null)
        {
            if (model.Ways is { Processes: > 1 } ways)
                throw CommandFault.ParallelAlone(ways.ToString(), ways.Processes);
            return await work(model, console, line).ConfigureAwait(false);
        }

        try
        {
            model = model with { Group = group, Device = model.Device == "cuda" ? $"cuda:{group.LocalRank}" : model.Device };
            model = Measured(model, group, line, others?.Invoke() ?? []);
            if (!model.IsFollower)
                return await work(model, console, line).ConfigureAwait(false);

            // The process of rank zero writes the files and says how far it is.
            var silent = CliConsole.Silent();
            using var unseen = new ProgressLine(silent);
            return await work(model, silent, unseen).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested && group.Stops.IsStopped)
        {
            console.Note("stopped with the other processes");
            return ExitCode.Cancelled;
        }
        catch (Exception e) when (group.Record(e))
        {
            throw;
        }
    }

    // The speeds that decide how wide models are made, the same in all processes. Others are bound by the number of calls, which no division changes. All processes measure where one of
    // them has a wide model.
    private static ModelArguments Measured(ModelArguments model, ProcessGroup group, ProgressLine line, IEnumerable<ITransformerConfig> others)
    {
        // Of the weights nothing is read, because a disk that does not answer must not hold up a service.
        var folder = model.Open();
        int[] wide = [others.Prepend(TransformerConfigs.Load(folder.Transformer(model.Variant).ConfigFile)).Any(each => each.Dim >= ElementTypeChoice.LeastWidth) ? 1 : 0];
        group.AllReduce<int>(wide);
        if (wide[0] == 0)
            return model;
        if (!model.IsFollower)
            line.Update("measuring", "the speed of the processes and their connections", 0);
        var options = model.Options();
        TorchRuntime.Threads = options.Threads!.Value;
        if (options is { Type: null, Device: null or { Type: DeviceType.Cpu } })
        {
            var speedups = new double[group.WorldSize];
            speedups[group.Rank] = ProductSpeed.Narrow();
            group.AllReduce<double>(speedups);
            model = model with { NarrowSpeedup = speedups.Min() };
        }

        if (model.Ways is null)
            model = model with { Speed = GroupSpeed.Measure(group, SpeedProbe.Measure(ElementTypeChoice.Of(PlannedModel.Of(folder, model.Variant), model.Options()).Type, options.Device)) };
        line.Clear();
        return model;
    }
}
