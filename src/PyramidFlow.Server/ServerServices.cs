using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server;

/// <summary>What servers and workers are put together from.</summary>
internal static class ServerServices
{
    /// <summary>How long listeners and the worker have to come to an end when the process stops.</summary>
    private static readonly TimeSpan ShutdownPatience = TimeSpan.FromSeconds(6);

    /// <summary>The queue, the files and what cares for them.</summary>
    public static IServiceCollection AddQueue(this IServiceCollection services, ServerOptions options) => services
        .AddSingleton(options)
        .AddSingleton(options.Limits)
        .AddSingleton(options.Pipeline)
        .AddSingleton(options.Models)
        .AddSingleton(new VideoFolder(options.DataFolder))
        .AddSingleton(new RetryRules(options.Attempts, TimeSpan.FromSeconds(options.RetrySeconds)))
        .AddSingleton<SqlDialect>(provider => options.Database is { } connection ? new PostgresDialect(connection) : new SqliteDialect(provider.GetRequiredService<VideoFolder>().Database))
        .AddSingleton<IJobStore, SqlJobStore>()
        .AddSingleton<JobSignals>()
        .AddSingleton<BackgroundHealth>()
        .AddSingleton<ModelCatalog>()
        .AddSingleton<FileCare>()
        .Configure<HostOptions>(host =>
        {
            // All at once: a worker stops taking jobs while listeners are told, and neither waits for the other.
            host.ServicesStopConcurrently = true;
            host.ShutdownTimeout = ShutdownPatience;
        })
        .AddHostedService<QueueStart>()
        .AddHostedService<QueueCare>();

    /// <summary>Making videos in this process.</summary>
    public static IServiceCollection AddWorker(this IServiceCollection services) => services
        .AddSingleton<LoadedModel>()
        .AddSingleton<VideoMaker>()
        .AddHostedService<VideoWorker>();

    /// <summary>What REST and the page use.</summary>
    public static IServiceCollection AddJobs(this IServiceCollection services) => services
        .AddSingleton<JobFeed>()
        .AddHostedService(provider => provider.GetRequiredService<JobFeed>())
        .AddSingleton<RequestCheck>()
        .AddSingleton<UploadReader>()
        .AddSingleton<IVideoJobs, VideoJobs>();
}
