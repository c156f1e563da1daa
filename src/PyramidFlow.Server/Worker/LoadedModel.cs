using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>The model in memory: loaded when a job needs it, kept for the next, replaced when one needs another.</summary>
/// <param name="options">How models are loaded.</param>
internal sealed class LoadedModel(PipelineOptions options) : IDisposable
{
    private VideoPipeline? pipeline;
    private string? id;
    private volatile bool isAbandoned;

    /// <summary>Id of what is in memory; null before the first.</summary>
    public string? Id => id;

    /// <summary>The pipeline of a model. One caller at a time.</summary>
    public VideoPipeline Get(VideoModel model, IProgress<GenerationProgress> progress)
    {
        if (id == model.Id && pipeline is not null)
            return pipeline;
        // Two models at once may not fit.
        Dispose();
        pipeline = VideoPipeline.Load(model.Folder, options with { Variant = model.Variant }, progress);
        id = model.Id;
        return pipeline;
    }

    /// <summary>Leaves what is in memory to the end of the process: a computation that cannot be stopped in time still uses it.</summary>
    public void Abandon() => isAbandoned = true;

    public void Dispose()
    {
        if (isAbandoned)
            return;
        pipeline?.Dispose();
        (pipeline, id) = (null, null);
    }
}
