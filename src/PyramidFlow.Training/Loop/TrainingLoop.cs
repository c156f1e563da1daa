using System.Diagnostics;
using PyramidFlow.Media;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Loop;

/// <summary>
/// The one training loop: steps, checkpoints, metrics and samples of whatever <see cref="ITraining"/> trains. What a step
/// does follows from the state and its number alone: an interrupted and resumed run ends in the bits of an uninterrupted one.
/// </summary>
/// <remarks>
/// Of several processes that train together each computes a part of every batch, and all take the same step from the sum of
/// their gradients; the first one alone writes into the folder, from which all start.
/// </remarks>
public sealed class TrainingLoop
{
    private const double Mebibyte = 1 << 20;

    private readonly LoopConfig config;
    private readonly ITraining training;
    private readonly RunFolder folder;
    private readonly TrainingState state;
    private readonly TrainingStep step;
    private readonly ProcessGroup? group;
    private readonly StepWindow window = new();

    private long? saved;
    private RunSummary summary = new();

    /// <summary>Prepares a run, or takes up the one in the folder.</summary>
    /// <param name="config">Steps, and how often to do what.</param>
    /// <param name="training">What is trained; stays the caller's.</param>
    /// <param name="folder">Where it is kept.</param>
    /// <param name="group">The processes that train together; null is this one alone. Stays the caller's.</param>
    /// <exception cref="PyramidFlow.Torch.Checkpoints.CheckpointException">The folder holds a run of another model or configuration.</exception>
    public TrainingLoop(LoopConfig config, ITraining training, RunFolder folder, ProcessGroup? group = null)
    {
        (this.config, this.training, this.folder, this.group) = (config, training, folder, group);
        state = new TrainingState(training.Parts, new SpikeGuard(config.SpikeFactor), training.Buffers);
        step = new TrainingStep(config, training, folder, group);
        if (folder.LatestState is { } path)
        {
            state.Load(path, training.Identity);
            saved = state.Step;
        }
    }

    /// <summary>Steps done.</summary>
    public long Step => state.Step;

    /// <summary>Trains to the end, or until cancelled after the running step; either way the state is saved and the weights published.</summary>
    /// <param name="progress">Told now and then, or null.</param>
    /// <param name="cancellationToken">Stops after the running step.</param>
    /// <exception cref="TrainingException">A loss is not a number, a checkpoint cannot be written, or another process trains in the folder.</exception>
    public void Run(IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        if (group is { Rank: > 0 })
        {
            Follow(group, cancellationToken);
            return;
        }

        using var held = folder.Hold();
        using var log = new RunLog(folder, state.Step);
        Agree();
        var isPublished = false;
        var isLast = false;

        // Several processes stop when all know of it, one at once.
        while (state.Step < config.Steps && !isLast && (group is not null || !cancellationToken.IsCancellationRequested))
        {
            isPublished = false;
            var result = window.Take(() => step.Take(state, cancellationToken));
            isLast = result.IsLast;
            if (result.Skipped is { } fault)
                Written("metrics", () => Skipped(log, progress, fault));
            if (state.Step % config.LogEvery == 0)
                Written("metrics", () => Report(log, progress));
            if (state.Step % config.CheckpointEvery == 0)
            {
                Checkpoint(log, progress);
                isPublished = true;
            }

            if (config.SampleEvery > 0 && state.Step % config.SampleEvery == 0)
                Sample(log, progress, cancellationToken);
        }

        // Steps since the last line, which sums over the lines (operations, time) must not lose.
        if (window.Count > 0)
            Written("metrics", () => Report(log, progress));
        if (!isPublished)
            Checkpoint(log, progress);
        Written("summary", () => Summarize(log));
        group?.Barrier();
    }

    // The other processes only step.
    private void Follow(ProcessGroup others, CancellationToken cancellationToken)
    {
        Agree();
        var isLast = false;
        while (state.Step < config.Steps && !isLast)
            isLast = step.Take(state, cancellationToken).IsLast;
        others.Barrier();
    }

    // All begin at the same step with the same weights.
    private void Agree()
    {
        if (group is null)
            return;
        Span<long> first = [state.Step];
        group.Broadcast(first);
        if (first[0] != state.Step)
            throw new ProcessGroupException($"process {group.Rank} is at step {state.Step}, the first one at {first[0]}: give all processes the same --out folder");
        foreach (var part in training.Parts)
        {
            group.Broadcast(part.Parameters.Values);
            part.Parameters.Refresh();
        }
    }

    private void Skipped(RunLog log, IProgress<TrainingProgress>? progress, string fault)
    {
        log.Add(state.Step, [("skipped_steps", state.Guard.Skipped)]);
        progress?.Report(new TrainingProgress(state.Step, config.Steps, 0, 0, $"step {state.Step} is skipped: {fault}"));
    }

    private void Report(RunLog log, IProgress<TrainingProgress>? progress)
    {
        var losses = window.Losses;
        log.Add(state.Step,
        [
            ("loss", losses.Loss), .. losses.Named,
            .. training.Parts.Select((part, i) => (part.NormName, window.NormOf(i))),
            .. training.Parts.Select(part => (part.RateName, part.RateAt(state.Step - 1))),
            .. losses.Flops > 0 ? [("flops", (double)losses.Flops)] : Array.Empty<(string, double)>(),
            ("seconds_per_step", window.SecondsPerStep), ("tokens_per_second", window.TokensPerSecond), ("skipped_steps", state.Guard.Skipped),
            ("memory_mib", Environment.WorkingSet / Mebibyte), ("tensor_memory_mib", TorchRuntime.CpuMemory.InUse / Mebibyte),
        ]);
        summary = summary with { SecondsPerStep = window.SecondsPerStep, TokensPerSecond = window.TokensPerSecond, Losses = [("loss", losses.Loss), .. losses.Named] };
        Summarize(log);
        progress?.Report(new TrainingProgress(state.Step, config.Steps, losses.Loss, window.SecondsPerStep,
            losses.Named.Count == 0 ? null : string.Join(", ", losses.Named.Select(value => FormattableString.Invariant($"{value.Name} {value.Value:F4}")))));
        window.Clear();
    }

    private void Checkpoint(RunLog log, IProgress<TrainingProgress>? progress)
    {
        IReadOnlyList<(string Name, double Value)> measured = [];
        Written("checkpoint", () =>
        {
            if (saved != state.Step)
                state.Save(folder.StateFile(state.Step), training.Identity);
            saved = state.Step;
            folder.Prune(config.KeepLast, config.KeepEvery);
            measured = training.Publish();
        });
        if (measured.Count == 0)
            return;
        summary = summary with { Measured = measured };
        Written("measurement", () => log.Add(state.Step, measured));
        progress?.Report(new TrainingProgress(state.Step, config.Steps, 0, 0,
            string.Join(", ", measured.Select(value => FormattableString.Invariant($"{value.Name} {value.Value:F2}")))));
    }

    private void Written(string what, Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or MediaException)
        {
            var kept = saved is { } before ? $"the state of step {before} is whole" : "there is no earlier one";
            throw new TrainingException($"the {what} of step {state.Step} cannot be written ({e.Message}); {kept}: make room and start the same command again", e);
        }
    }

    private void Summarize(RunLog log) =>
        log.Summarize(summary with { Step = state.Step, Steps = config.Steps, Skipped = state.Guard.Skipped, Checkpoint = saved });

    // Something to look at, and no reason to end a run.
    private void Sample(RunLog log, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        var path = folder.SampleFile(state.Step);
        try
        {
            if (!training.Sample(path, cancellationToken))
                return;
            log.Picture(state.Step, "samples", path);
            summary = summary with { Samples = path };
            progress?.Report(new TrainingProgress(state.Step, config.Steps, 0, 0, $"samples are in {path}"));
        }
        catch (OperationCanceledException)
        {
            // The run stops, and saves what it has.
        }
        catch (Exception e) when (e is IOException or MediaException or TorchException or CheckpointException or ArgumentException)
        {
            progress?.Report(new TrainingProgress(state.Step, config.Steps, 0, 0, $"the samples of step {state.Step} cannot be made: {e.Message}"));
        }
    }
}

/// <summary>Gathers steps until they are reported: means of what they gave, and the time they took without what lies between them.</summary>
internal sealed class StepWindow
{
    private readonly List<StepResult> steps = [];
    private TimeSpan time;

    /// <summary>Steps gathered.</summary>
    public int Count => steps.Count;

    /// <summary>Mean time of a step.</summary>
    public double SecondsPerStep => time.TotalSeconds / Math.Max(1, Count);

    /// <summary>Mean losses.</summary>
    public BatchLosses Losses => BatchLosses.Mean([.. steps.Select(step => step.Losses)]);

    /// <summary>Tokens a second.</summary>
    public double TokensPerSecond => Losses.Tokens / Math.Max(1e-9, time.TotalSeconds);

    /// <summary>Mean gradient norm of a part.</summary>
    public double NormOf(int part) => steps.Average(step => step.Norms[part]);

    /// <summary>Takes a step and adds it.</summary>
    public StepResult Take(Func<StepResult> step)
    {
        var begin = Stopwatch.GetTimestamp();
        var result = step();
        time += Stopwatch.GetElapsedTime(begin);
        steps.Add(result);
        return result;
    }

    /// <summary>Begins anew.</summary>
    public void Clear()
    {
        steps.Clear();
        time = TimeSpan.Zero;
    }
}

/// <summary>Where a training run is.</summary>
/// <param name="Step">Steps done.</param>
/// <param name="Steps">Steps of the whole run.</param>
/// <param name="Loss">Mean loss since the last report.</param>
/// <param name="SecondsPerStep">Mean time of a step since the last report.</param>
/// <param name="Note">What else there is to say, or null.</param>
public sealed record TrainingProgress(long Step, long Steps, double Loss, double SecondsPerStep, string? Note = null)
{
    /// <summary>Time left at the present pace.</summary>
    public TimeSpan TimeLeft => TimeSpan.FromSeconds((Steps - Step) * SecondsPerStep);
}

/// <summary>A training that cannot go on; the message says why and what would do.</summary>
public sealed class TrainingException : Exception
{
    /// <summary>With the whole sentence.</summary>
    public TrainingException(string message)
        : base(message)
    {
    }

    /// <summary>With the whole sentence and what lies behind it.</summary>
    public TrainingException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
