using PyramidFlow.Generation;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>The worker of this process.</summary>
/// <param name="Processes">Processes that make each of its videos together.</param>
internal sealed record WorkerIdentity(int Processes)
{
    /// <summary>Name in leases and among the workers; no other worker has it.</summary>
    public string Name { get; } = $"{Environment.MachineName}-{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..8]}";
}

/// <summary>
/// Announces the worker of this process with its models and LoRAs, so that servers can say whether anybody makes what waits. A worker that cannot
/// make videos at present is not announced.
/// </summary>
internal sealed partial class WorkerPresence(
    IJobStore store, WorkerIdentity identity, PipelineOptions pipeline, ModelCatalog catalog, LoraCatalog loras, JobSignals signals, LeaseRules rules, BackgroundHealth health, ILogger<WorkerPresence> log)
    : BackgroundLoop("worker presence", health, log)
{
    // Often enough that a slow database does not make a worker look gone.
    private readonly TimeSpan look = TimeSpan.FromSeconds(Math.Clamp(rules.Length.TotalSeconds / 6, 0.05, 5));

    private bool isAnnounced, isDraining;

    /// <summary>Withdraws the worker at once. If that fails, its announcement expires.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await WithdrawAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            LogUnreachable(log, e.Message);
        }
    }

    protected override async Task TurnAsync(CancellationToken stoppingToken)
    {
        // A worker without the default model makes videos of the others, though it reports a fault.
        var (models, fault) = catalog.Scan();
        if (models.Count == 0 || (fault is null && Health.Parts.Any(part => part.Name == VideoWorker.Part && part.Reason is not null)))
            await WithdrawAsync(stoppingToken).ConfigureAwait(false);
        else
        {
            isDraining = await store.AnnounceAsync(new WorkerEntry(identity.Name, [.. models.Select(model => model.Id)], identity.Processes)
            {
                Loras = loras.Names,
                Device = pipeline.Device?.ToString() ?? "cpu",
                Memory = MachineMemory.Total,
                MemoryUsed = Environment.WorkingSet,
                IsDraining = isDraining,
            }, stoppingToken).ConfigureAwait(false);
            if (!isAnnounced)
                signals.Changed();
            isAnnounced = true;
        }

        ReportSuccess();
        await Task.Delay(look, stoppingToken).ConfigureAwait(false);
    }

    private async Task WithdrawAsync(CancellationToken cancellationToken)
    {
        if (!isAnnounced)
            return;
        await store.WithdrawAsync(identity.Name, cancellationToken).ConfigureAwait(false);
        isAnnounced = false;
        signals.Changed();
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The worker could not be withdrawn and is listed until its announcement expires: {Reason}")]
    private static partial void LogUnreachable(ILogger log, string reason);
}
