using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using PyramidFlow.Generation;

namespace PyramidFlow.Extensions.AI;

/// <summary>Generators over pipelines. The pipeline stays its owner's: disposing a generator does not dispose it.</summary>
public static class PyramidFlowGenerators
{
    // What Microsoft.Extensions.AI marks its own image generators with: whoever uses one has accepted it already.
    internal const string ExperimentalImages = "MEAI001";

    /// <summary>A generator of videos.</summary>
    /// <param name="pipeline">The pipeline.</param>
    /// <param name="modelId">Name of its model; null where it does not matter.</param>
    public static IVideoGenerator AsVideoGenerator(this VideoPipeline pipeline, string? modelId = null)
    {
        ArgumentNullException.ThrowIfNull(pipeline);
        return CreateVideoGenerator(_ => Task.FromResult(pipeline), modelId);
    }

    /// <summary>A generator of pictures.</summary>
    /// <param name="pipeline">The pipeline.</param>
    /// <param name="modelId">Name of its model; null where it does not matter.</param>
    [Experimental(ExperimentalImages)]
    public static IImageGenerator AsImageGenerator(this VideoPipeline pipeline, string? modelId = null)
    {
        ArgumentNullException.ThrowIfNull(pipeline);
        return CreateImageGenerator(_ => Task.FromResult(pipeline), modelId);
    }

    /// <summary>A generator of videos by a pipeline that is loaded later, such as that of <c>IPipelineSource.GetAsync</c> of PyramidFlow.Hosting.</summary>
    /// <param name="pipeline">Gives the pipeline; called for each request.</param>
    /// <param name="modelId">Name of its model; null where it does not matter.</param>
    public static IVideoGenerator CreateVideoGenerator(Func<CancellationToken, Task<VideoPipeline>> pipeline, string? modelId = null)
    {
        ArgumentNullException.ThrowIfNull(pipeline);
        return new PipelineVideoGenerator(new PipelineAccess(pipeline, modelId));
    }

    /// <summary>A generator of pictures by a pipeline that is loaded later.</summary>
    /// <param name="pipeline">Gives the pipeline; called for each request.</param>
    /// <param name="modelId">Name of its model; null where it does not matter.</param>
    [Experimental(ExperimentalImages)]
    public static IImageGenerator CreateImageGenerator(Func<CancellationToken, Task<VideoPipeline>> pipeline, string? modelId = null)
    {
        ArgumentNullException.ThrowIfNull(pipeline);
        return new PipelineImageGenerator(new PipelineAccess(pipeline, modelId));
    }

    /// <summary>Begins a chain of middleware around a generator.</summary>
    /// <param name="innerGenerator">The generator at the end.</param>
    public static VideoGeneratorBuilder AsBuilder(this IVideoGenerator innerGenerator) => new(innerGenerator);

    /// <summary>Registers a generator of videos, and gives the builder for its middleware.</summary>
    /// <param name="services">Services of the host.</param>
    /// <param name="innerGeneratorFactory">Gives the generator at the end.</param>
    public static VideoGeneratorBuilder AddVideoGenerator(this IServiceCollection services, Func<IServiceProvider, IVideoGenerator> innerGeneratorFactory)
    {
        var builder = new VideoGeneratorBuilder(innerGeneratorFactory);
        services.AddSingleton(builder.Build);
        return builder;
    }
}
