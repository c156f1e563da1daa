using PyramidFlow.Generation;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// A process that makes each video together with the one that has the queue. It sees neither queue nor folder: what it needs comes from rank zero, except the models, which it has too.
/// </summary>
/// <param name="group">The processes.</param>
/// <param name="catalog">Finds the models.</param>
/// <param name="loras">Finds the LoRAs that videos name.</param>
/// <param name="loaded">Keeps one in memory.</param>
/// <param name="options">How models are loaded.</param>
/// <param name="log">Receives why a video was not made.</param>
internal sealed partial class TeamFollower(ProcessGroup group, ModelCatalog catalog, LoraCatalog loras, LoadedModel loaded, PipelineOptions options, ILogger log)
{
    private readonly TeamChannel channel = new(group);

    /// <summary>Makes videos until rank zero says that it ends.</summary>
    /// <exception cref="ProcessGroupException">Rank zero or another process is gone.</exception>
    public async Task RunAsync()
    {
        while (true)
        {
            var (call, job) = channel.Receive();
            if (call == TeamCall.End)
                return;
            if (job is not null)
                await MakeAsync(job).ConfigureAwait(false);
        }
    }

    private async Task MakeAsync(TeamJob job)
    {
        (VideoPipeline Pipeline, GenerationPlan Plan)? ready = null;
        Exception? fault = null;
        try
        {
            ready = Ready(job);
        }
        catch (Exception e)
        {
            fault = e;
        }

        var before = -1;
        try
        {
            channel.AgreeOnStart(fault);
            before = group.Stops.Run;
            await foreach (var _ in ready!.Value.Pipeline.GenerateAsync(ready.Value.Plan).ConfigureAwait(false))
            {
                // Rank zero has the frames.
            }
        }
        catch (Exception e) when (group.Stops.Run != before && !group.Stops.IsBroken && e is not ProcessGroupException { Code: not ProcessGroupFault.DiffersCode })
        {
            // All processes end the video at the same place, and go on with the next one. A process that fails before its run has begun is out of step with the others, and ends.
            if (e is not OperationCanceledException)
                LogNotMade(log, e.Message);
        }
    }

    private (VideoPipeline Pipeline, GenerationPlan Plan) Ready(TeamJob job)
    {
        var model = catalog.Find(job.Model);
        var plan = GenerationPlan.Of(job.Request with { Conditioning = job.Conditioning, Loras = loras.Find(job.Request.Loras) }, loaded.Planned(model), options with { Variant = model.Variant });
        if (job.Changes is { } changes)
            plan = plan with { Director = new KnownChanges(changes) };
        return (loaded.Get(model, null), job.Pixels is { } pixels ? plan.WithPixels(pixels) : plan);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "A video could not be made here: {Reason}")]
    private static partial void LogNotMade(ILogger log, string reason);
}
