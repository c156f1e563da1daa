using System.Diagnostics;
using System.Globalization;
using PyramidFlow.Media;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Loop;

/// <summary>
/// The training loop: steps, checkpoints, metrics and samples of any <see cref="ITraining"/>. A step depends on the state and
/// the step number alone, so that a resumed run ends with the same bits as an uninterrupted one.
/// With several processes, each one computes a part of every batch, and all apply the same step from the sum of their gradients.
/// Only rank zero writes to the run folder; all ranks start from it.
/// </summary>
internal sealed class TrainingLoop
{
    private const double Mebibyte = 1 << 20;

    private readonly LoopConfig config;
    private readonly ITraining training;
    private readonly RunFolder folder;
    private readonly TrainingState state;
    private readonly TrainingStep step;
    private readonly ProcessGroup? group;
    private readonly Evaluation evaluation;
    private readonly StepWindow window = new();

    private long? saved;
    private RunSummary summary = new();

    /// <summary>Creates a run, or resumes the one in the folder.</summary>
    /// <param name="config">Number of steps, and the intervals of checkpoints, metrics and samples.</param>
    /// <param name="training">The trainer; the caller keeps ownership.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="group">Process group of the training; null trains in this process alone. The caller keeps ownership.</param>
    /// <exception cref="TrainingException">The newest state is damaged.</exception>
    /// <exception cref="PyramidFlow.Torch.CheckpointException">The folder contains a run of another model or configuration.</exception>
    public TrainingLoop(LoopConfig config, ITraining training, RunFolder folder, ProcessGroup? group = null)
    {
        (this.config, this.training, this.folder, this.group) = (config, training, folder, group);
        state = new TrainingState(training.Parts, new SpikeGuard(config.SpikeFactor), training.Buffers) { Kept = config.Kept };
        step = new TrainingStep(config, training, folder, group);
        if (folder.LatestState is { } path)
        {
            state.Load(path, training.Identity, training.EarlierIdentity);
            saved = state.Step;
        }

        evaluation = new Evaluation(training, state, folder, group, goesOn: saved is not null);
    }

    /// <summary>Number of completed steps.</summary>
    public long Step => state.Step;

    /// <summary>Trains to the last step, or until cancelled after the current step; in both cases saves the state and publishes the weights.</summary>
    /// <param name="progress">Reports progress; null reports nothing.</param>
    /// <param name="cancellationToken">Stops the run after the current step.</param>
    /// <exception cref="TrainingException">A loss is not a number, a checkpoint cannot be written, or another process trains in the folder.</exception>
    public void Run(IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        if (group is { Rank: > 0 })
        {
            RunFollower(group, cancellationToken);
            return;
        }

        using var held = folder.Hold();
        using var log = new RunLog(folder, state.Step);
        SynchronizeRanks();
        Begin(progress);
        if (evaluation.IsBestLost)
            WriteOrExplain("checkpoint", () => WithPublished(evaluation.KeepBest));
        Evaluate(log, progress);
        var isPublished = false;
        var isLast = false;

        // A group stops when all ranks know of the cancellation; a single process stops at once.
        while (state.Step < config.Steps && !isLast && (group is not null || !cancellationToken.IsCancellationRequested))
        {
            isPublished = false;
            var result = window.Take(() => TakeOrSave(cancellationToken));
            isLast = result.IsLast;
            if (result.Skipped is { } fault)
                WriteOrExplain("metrics", () => ReportSkipped(log, progress, fault));
            if (state.Step % config.LogEvery == 0)
                WriteOrExplain("metrics", () => Report(log, progress));
            if (IsCheckpointDue)
            {
                Checkpoint(log, progress);
                isPublished = true;
            }

            if (AreSamplesDue)
                WithPublished(() => Sample(log, progress, cancellationToken));
        }

        // Report the steps since the last line, so that sums over all lines (operations, time) are complete.
        if (window.Count > 0)
            WriteOrExplain("metrics", () => Report(log, progress));
        if (!isPublished)
            Checkpoint(log, progress);
        WriteOrExplain("summary", () => Summarize(log));
        group?.Barrier();
    }

    /// <summary>Takes a few steps and measures them; saves nothing.</summary>
    /// <param name="probe">Takes the measurements.</param>
    /// <param name="cancellationToken">Stops after the current step.</param>
    /// <exception cref="TrainingException">A loss is not a number.</exception>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public void Probe(TrainingProbe probe, CancellationToken cancellationToken)
    {
        var unsaved = new TrainingStep(config, training, folder: null, group);
        probe.Measure(() => unsaved.Take(state, cancellationToken), training.Parts[0].Parameters.Computed.Device, cancellationToken);
    }

    private void Begin(IProgress<TrainingProgress>? progress)
    {
        var (start, file) = (new RunStart(config, training, group), folder.File(RunStart.FileName));
        progress?.Report(new TrainingProgress(state.Step, config.Steps, 0, 0, start.Line(state.Step, file)) { IsLasting = true });
        WriteOrExplain("start", () =>
        {
            training.BeginRun();
            start.Write(file);
        });
    }

    // Data that cannot be read any more ends a run between two steps, none of which is lost. A group cannot: its other processes are within the step.
    private StepResult TakeOrSave(CancellationToken cancellationToken)
    {
        try
        {
            return step.Take(state, cancellationToken);
        }
        catch (TrainingException e) when (group is null && state.Step > 0 && e.Code is not (TrainingFault.LossNotFiniteCode or TrainingFault.WeightNotFiniteCode))
        {
            try
            {
                WriteOrExplain("checkpoint", () =>
                {
                    Save();
                    folder.Prune(config.KeepLast, config.KeepEvery);
                });
            }
            catch (TrainingException)
            {
                // The error of the data is the one to mend; the run goes on from the state before.
            }

            throw;
        }
    }

    private bool IsCheckpointDue => state.Step % config.CheckpointEvery == 0;

    private bool AreSamplesDue => config.SampleEvery > 0 && state.Step % config.SampleEvery == 0;

    // Ranks above zero only take steps, and send their shares where rank zero writes.
    private void RunFollower(ProcessGroup others, CancellationToken cancellationToken)
    {
        SynchronizeRanks();
        if (evaluation.IsBestLost)
            WithPublished(() => { });
        Evaluate();
        var (isSaved, isLast) = (false, false);
        while (state.Step < config.Steps && !isLast)
        {
            isLast = step.Take(state, cancellationToken).IsLast;
            isSaved = IsCheckpointDue;
            if (isSaved)
                SendCheckpoint();
            if (AreSamplesDue)
                WithPublished(() => { });
        }

        if (!isSaved)
            SendCheckpoint();
        others.Barrier();
    }

    private void SendCheckpoint()
    {
        Evaluate();
        if (training.Parts.All(part => part.Sharers is null))
            return;
        Save();
        WithPublished(() => { });
    }

    // All ranks take part where they hold shares.
    private void Save()
    {
        if (saved != state.Step)
            state.Save(folder.StateFile(state.Step), training.Identity);
        saved = state.Step;
    }

    // Rank zero has all weights to publish meanwhile, whoever holds them.
    private void WithPublished(Action action)
    {
        try
        {
            foreach (var part in training.Parts)
                part.Collect();
            action();
        }
        finally
        {
            foreach (var part in training.Parts)
                part.Release();
        }
    }

    // All ranks start at the same step with the same weights.
    private void SynchronizeRanks()
    {
        if (group is null)
            return;
        group.Agree(
        [
            ("the run", training.Identity), ("the step that the run is at", state.Step.ToString(CultureInfo.InvariantCulture)),
            ("the best step of the run", FormattableString.Invariant($"{state.Best?.Step}{(evaluation.IsBestLost ? ", not kept yet" : "")}")),
        ]);
        foreach (var part in training.Parts)
            part.Synchronize();
    }

    private void ReportSkipped(RunLog log, IProgress<TrainingProgress>? progress, string fault)
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
            .. group is null ? Array.Empty<(string, double)>() : [("sent_mib", group.BytesSent / Mebibyte)],
        ]);
        summary = summary with { SecondsPerStep = window.SecondsPerStep, TokensPerSecond = window.TokensPerSecond, Losses = [("loss", losses.Loss), .. losses.Named] };
        Summarize(log);
        progress?.Report(new TrainingProgress(state.Step, config.Steps, losses.Loss, window.SecondsPerStep,
            losses.Named.Count == 0 ? null : string.Join(", ", losses.Named.Select(value => FormattableString.Invariant($"{value.Name} {value.Value:F4}")))));
        window.Clear();
    }

    // At the start, with every checkpoint on its interval and at the last step: where a run was stopped makes no difference to what is measured.
    private HeldOutLoss? Evaluate() => evaluation.Measure(IsCheckpointDue || state.Step >= config.Steps);

    // Before the state is saved, which tells what is the best so far.
    private void Evaluate(RunLog log, IProgress<TrainingProgress>? progress)
    {
        if (Evaluate() is not { } loss)
            return;
        summary = summary with { HeldOut = loss.Named };
        WriteOrExplain("measurement", () => log.Add(state.Step, loss.Named));
        progress?.Report(new TrainingProgress(state.Step, config.Steps, 0, 0, evaluation.Line(loss)));
    }

    private void Checkpoint(RunLog log, IProgress<TrainingProgress>? progress)
    {
        Evaluate(log, progress);
        IReadOnlyList<(string Name, double Value)> measured = [];
        WriteOrExplain("checkpoint", () =>
        {
            Save();
            folder.Prune(config.KeepLast, config.KeepEvery);
            WithPublished(() =>
            {
                measured = training.Publish();
                evaluation.KeepBest();
            });
        });
        if (measured.Count == 0)
            return;
        summary = summary with { Measured = measured };
        WriteOrExplain("measurement", () => log.Add(state.Step, measured));
        progress?.Report(new TrainingProgress(state.Step, config.Steps, 0, 0,
            string.Join(", ", measured.Select(value => FormattableString.Invariant($"{value.Name} {value.Value:F2}")))));
    }

    private void WriteOrExplain(string what, Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or MediaException or CheckpointException)
        {
            throw TrainingFault.NotWritten(what, state.Step, saved, e);
        }
    }

    private void Summarize(RunLog log) =>
        log.Summarize(summary with { Step = state.Step, Steps = config.Steps, Skipped = state.Guard.Skipped, Checkpoint = saved, Best = state.Best });

    // A failed sample does not end the run.
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
            // The run stops and saves its state.
        }
        catch (Exception e) when (e is PyramidFlowException or IOException or TorchException or ArgumentException)
        {
            progress?.Report(new TrainingProgress(state.Step, config.Steps, 0, 0, $"the samples of step {state.Step} cannot be made: {e.Message}"));
        }
    }
}

/// <summary>Collects steps until the next report: mean losses, and the time spent in the steps alone.</summary>
internal sealed class StepWindow
{
    private readonly List<StepResult> steps = [];
    private TimeSpan time;

    /// <summary>Number of collected steps.</summary>
    public int Count => steps.Count;

    /// <summary>Mean time of a step in seconds.</summary>
    public double SecondsPerStep => time.TotalSeconds / Math.Max(1, Count);

    /// <summary>Mean losses.</summary>
    public BatchLosses Losses => BatchLosses.Mean([.. steps.Select(step => step.Losses)]);

    /// <summary>Tokens per second.</summary>
    public double TokensPerSecond => Losses.Tokens / Math.Max(1e-9, time.TotalSeconds);

    /// <summary>Mean gradient norm of a part.</summary>
    public double NormOf(int part) => steps.Average(step => step.Norms[part]);

    /// <summary>Runs a step, measures its time, and adds it.</summary>
    public StepResult Take(Func<StepResult> step)
    {
        var begin = Stopwatch.GetTimestamp();
        var result = step();
        time += Stopwatch.GetElapsedTime(begin);
        steps.Add(result);
        return result;
    }

    /// <summary>Removes all steps.</summary>
    public void Clear()
    {
        steps.Clear();
        time = TimeSpan.Zero;
    }
}

/// <summary>Progress of a training run.</summary>
/// <param name="Step">Number of completed steps.</param>
/// <param name="Steps">Number of steps of the whole run.</param>
/// <param name="Loss">Mean loss since the last report.</param>
/// <param name="SecondsPerStep">Mean time of a step since the last report.</param>
/// <param name="Note">A message to show, or null.</param>
public sealed record TrainingProgress(long Step, long Steps, double Loss, double SecondsPerStep, string? Note = null)
{
    /// <summary>Whether the message stays on the screen, as that of the start, while others are replaced by the next one.</summary>
    public bool IsLasting { get; init; }

    /// <summary>Estimated remaining time at the current pace.</summary>
    public TimeSpan TimeLeft => TimeSpan.FromSeconds((Steps - Step) * SecondsPerStep);
}
