namespace PyramidFlow.Server;

/// <summary>A worker without a service: it takes jobs from the queue of others and makes them.</summary>
public static class VideoWorkers
{
    /// <summary>Puts a worker together; start and stop it.</summary>
    /// <param name="options">How it runs; the queue and the folder are those of the server.</param>
    /// <param name="logging">Where its log goes; standard error unless given.</param>
    public static IHost Build(ServerOptions options, Action<ILoggingBuilder>? logging = null)
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { ContentRootPath = AppContext.BaseDirectory });
        new ServerLog().Configure(builder.Logging, logging);
        builder.Services.AddQueue(options).AddWorker();
        Telemetry.Add(builder.Services);
        return builder.Build();
    }
}
