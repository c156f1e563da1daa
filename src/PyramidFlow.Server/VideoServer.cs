using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.FileProviders;
using Microsoft.Extensions.Logging.Console;
using OpenTelemetry.Metrics;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Http;
using PyramidFlow.Server.Page;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Server;

/// <summary>The service: REST, the web page and, by default, a worker in the same process.</summary>
public static class VideoServer
{
    /// <summary>Builds a server; the caller runs it, or starts and stops it.</summary>
    /// <param name="options">The configuration.</param>
    /// <param name="logging">Configures the log; it goes to standard error unless given.</param>
    /// <exception cref="ServiceOptionException">The address is invalid, or requires a key and there is none.</exception>
    /// <exception cref="ServiceException">The keys cannot be read.</exception>
    public static WebApplication Build(ServerOptions options, Action<ILoggingBuilder>? logging = null)
    {
        var keys = new ApiKeys(options.DataFolder);
        // Read at the start, so that a damaged key file stops the start and not each request.
        _ = keys.InUse;
        var rules = new ListenRules(options.Host, options.AllowedHosts, options.Proxies);
        var address = rules.Check(keys);
        var others = new CrossOrigin(options.CrossOrigins);
        others.Check(keys);
        options.Webhooks.CheckHosts();
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        var log = new ServerLog();
        log.Configure(builder.Logging, logging);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = options.Limits.VideoBytes + (1 << 20);
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(options.Limits.IdleSeconds);
            // Slow senders must not hold connections for long.
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(options.Limits.HeaderSeconds);
            kestrel.Limits.MinRequestBodyDataRate = new MinDataRate(options.Limits.BodyBytesPerSecond, TimeSpan.FromSeconds(options.Limits.BodyGraceSeconds));
            var connections = kestrel.ApplicationServices.GetRequiredService<ConnectionLimits>();
            kestrel.Listen(address, options.Port, listen => listen.Use(next => connection => connections.HoldAsync(connection, next)));
        });
        builder.Services.AddTeam(options).AddQueue(options).AddJobs().AddSingleton(rules).AddSingleton(others).AddAccess(options.DataFolder, keys).AddRateLimits().AddProxies(options.Proxies);
        builder.Services.AddWebhooks(options.Webhooks);
        if (options.RunsWorker)
            builder.Services.AddWorker();
        builder.Services.AddSingleton<ConnectionLimits>().AddSingleton<RequestReader>().AddSingleton<EventStream>();
        builder.Services.AddApiDocument();
        builder.Services.AddPage().AddCompression().AddCors();
        Telemetry.Add(builder.Services, metrics => metrics.AddAspNetCoreInstrumentation().AddPrometheusExporter());
        var app = builder.Build();
        app.Lifetime.ApplicationStarted.Register(() => log.HasStarted = true);
        app.Services.GetRequiredService<Telemetry>().Observe(app.Services.GetRequiredService<JobFeed>());
        Map(app, options.LogsRequests);
        return app;
    }

    private static void Map(WebApplication app, bool logsRequests)
    {
        app.UseRequestIds();
        app.Use(ConnectionLimits.AnswerAsync);
        app.UseForwardedHeaders();
        if (logsRequests)
            app.UseMiddleware<AccessLog>();
        app.UseSafeHeaders();
        app.UseMiddleware<Problems>();
        app.UseMiddleware<OriginCheck>();
        app.UseCompression();
        app.UseStaticFiles(new StaticFileOptions { FileProvider = new ManifestEmbeddedFileProvider(typeof(VideoServer).Assembly, "wwwroot") });
        app.UseRouting();
        app.Services.GetRequiredService<CrossOrigin>().Use(app);
        app.UseAccess();
        app.UseRateLimiter();
        app.UseAntiforgery();
        app.UseWebSockets();
        app.MapHealth();
        app.MapVideos();
        app.MapImages();
        app.MapLive();
        app.MapAdministration();
        app.MapSession();
        app.MapOpenApi();
        app.MapPrometheusScrapingEndpoint("/metrics");
        // SafeHeaders sets the policy for frames.
        app.MapRazorComponents<App>().AddInteractiveServerRenderMode(mode => mode.ContentSecurityFrameAncestorsPolicy = null);
    }
}

/// <summary>A worker without a service: it leases jobs from the queue of other servers.</summary>
public static class VideoWorkers
{
    private static readonly TimeSpan FollowerPatience = TimeSpan.FromSeconds(10);

    /// <summary>Builds a worker; the caller starts and stops it.</summary>
    /// <param name="options">The configuration; queue and folder are those of the server.</param>
    /// <param name="logging">Configures the log; it goes to standard error unless given.</param>
    public static IHost Build(ServerOptions options, Action<ILoggingBuilder>? logging = null)
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { ContentRootPath = AppContext.BaseDirectory });
        new ServerLog().Configure(builder.Logging, logging);
        builder.Services.AddTeam(options).AddQueue(options).AddWorker();
        Telemetry.Add(builder.Services);
        return builder.Build();
    }

    /// <summary>
    /// Makes each video together with the server or worker of rank zero (<see cref="PipelineOptions.Parallel"/>), which has the queue and the folder, until that one ends. This process needs
    /// the models only.
    /// </summary>
    /// <param name="options">The configuration; of it the models and how they are loaded count.</param>
    /// <param name="cancellationToken">Where rank zero does not end this process within ten seconds after it, it ends by itself.</param>
    /// <returns>Whether it has ended; otherwise it still waits for another process, and only the end of this one stops it.</returns>
    /// <param name="logging">Configures the log; it goes to standard error unless given.</param>
    /// <exception cref="ProcessGroupException">Rank zero, or another process, is gone.</exception>
    public static async Task<bool> FollowAsync(ServerOptions options, CancellationToken cancellationToken, Action<ILoggingBuilder>? logging = null)
    {
        var parallel = options.Pipeline.Parallel ?? throw new ArgumentException("a process that follows another one needs their group", nameof(options));
        using var logs = LoggerFactory.Create(builder => new ServerLog().Configure(builder, logging));
        var loaded = new LoadedModel(options.Pipeline);
        var models = new ModelCatalog(options.Models, logs.CreateLogger<ModelCatalog>());
        var loras = new LoraCatalog(options.LoraFolder, models, logs.CreateLogger<LoraCatalog>());
        var follower = new TeamFollower(parallel.Group, models, loras, loaded, options.Pipeline, logs.CreateLogger<TeamFollower>());
        var following = Task.Run(follower.RunAsync, CancellationToken.None);
        await following.WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await following.WaitAsync(FollowerPatience, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!following.IsCompleted)
            return false;
        loaded.Dispose();
        try
        {
            await following.ConfigureAwait(false);
        }
        catch (ProcessGroupException) when (cancellationToken.IsCancellationRequested)
        {
            // Rank zero was stopped too, and was quicker.
        }

        return true;
    }
}

/// <summary>Registers the services of servers and workers.</summary>
internal static class ServerServices
{
    /// <summary>Time for listeners and the worker to end when the process stops.</summary>
    private static readonly TimeSpan ShutdownPatience = TimeSpan.FromSeconds(6);

    /// <summary>Adds the processes that make each video together. Before the queue, because they wait while its database is not up yet.</summary>
    public static IServiceCollection AddTeam(this IServiceCollection services, ServerOptions options) => options.Pipeline.Parallel is not { } parallel ? services
        : services.AddSingleton(parallel).AddSingleton<TeamLeader>().AddHostedService(provider => provider.GetRequiredService<TeamLeader>());

    /// <summary>Adds the queue, the files and their maintenance.</summary>
    public static IServiceCollection AddQueue(this IServiceCollection services, ServerOptions options) => services
        .AddSingleton(options.Limits)
        .AddSingleton(options.Pipeline)
        .AddSingleton(options.Models)
        .AddSingleton(new VideoFolder(options.DataFolder))
        .AddSingleton(new RetentionRules(options.KeepDays, options.KeepBytes))
        .AddSingleton(new LeaseRules(options.Attempts, TimeSpan.FromSeconds(options.RetrySeconds)) { Length = TimeSpan.FromSeconds(options.LeaseSeconds) })
        .AddSingleton<SqlDialect>(provider => options.Database is { } connection ? new PostgresDialect(connection) : new SqliteDialect(provider.GetRequiredService<VideoFolder>().Database))
        .AddSingleton<IJobStore, SqlJobStore>()
        .AddSingleton(provider => (IWebhookStore)provider.GetRequiredService<IJobStore>())
        .AddSingleton<JobSignals>()
        .AddSingleton<BackgroundHealth>()
        .AddSingleton<ModelCatalog>()
        .AddSingleton(provider => new LoraCatalog(options.LoraFolder, provider.GetRequiredService<ModelCatalog>(), provider.GetRequiredService<ILogger<LoraCatalog>>()))
        .AddSingleton<FileCleanup>()
        .Configure<HostOptions>(host =>
        {
            // Listeners and workers stop at the same time, so that neither waits for the other.
            host.ServicesStopConcurrently = true;
            host.ShutdownTimeout = ShutdownPatience;
        })
        .AddHostedService<QueueStart>()
        .AddHostedService<QueueMaintenance>();

    /// <summary>Adds the generation of videos in this process.</summary>
    public static IServiceCollection AddWorker(this IServiceCollection services) => services
        .AddSingleton(provider => new WorkerIdentity(provider.GetRequiredService<PipelineOptions>().Parallel?.Group.WorldSize ?? 1))
        .AddSingleton<LoadedModel>()
        .AddSingleton<VideoMaker>()
        .AddHostedService<VideoWorker>()
        .AddHostedService<WorkerPresence>();

    /// <summary>Adds the announcements of ended videos; without a listed host none is sent.</summary>
    public static IServiceCollection AddWebhooks(this IServiceCollection services, WebhookRules rules)
    {
        services.AddSingleton(rules).AddSingleton<WebhookSecrets>();
        return !rules.IsOn ? services : services.AddSingleton<WebhookClient>().AddHostedService<WebhookSender>();
    }

    /// <summary>Adds the services of REST and the page.</summary>
    public static IServiceCollection AddJobs(this IServiceCollection services) => services
        .AddSingleton<JobFeed>()
        .AddHostedService(provider => provider.GetRequiredService<JobFeed>())
        .AddSingleton<RequestCheck>()
        .AddSingleton<UploadReader>()
        .AddSingleton<IVideoJobs, VideoJobs>()
        .AddSingleton<LinkTokens>()
        .AddSingleton(provider => (IAdminStore)provider.GetRequiredService<IJobStore>())
        .AddSingleton<Administration>()
        .AddSingleton<ShareLinks>();
}

/// <summary>Logs one line for each event to standard error.</summary>
internal sealed class ServerLog
{
    private volatile bool hasStarted;

    /// <summary>Whether the server listens. A fault before that ends the start, and the caller reports it in one sentence.</summary>
    public bool HasStarted
    {
        get => hasStarted;
        set => hasStarted = value;
    }

    public void Configure(ILoggingBuilder logging, Action<ILoggingBuilder>? instead)
    {
        logging.ClearProviders();
        logging.AddFilter("Microsoft.AspNetCore", LogLevel.Warning);
        logging.AddFilter("Microsoft.Hosting", LogLevel.Warning);
        logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.None);
        logging.AddFilter("Microsoft.AspNetCore.Server.Kestrel", level => HasStarted ? level >= LogLevel.Warning : level is >= LogLevel.Warning and < LogLevel.Critical);
        // The keys of data protection lie in the data folder, as readable as everything else there.
        logging.AddFilter("Microsoft.AspNetCore.DataProtection", LogLevel.Error);
        if (instead is not null)
        {
            instead(logging);
            return;
        }

        logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "HH:mm:ss ";
            console.ColorBehavior = LoggerColorBehavior.Disabled;
        });
        logging.Services.Configure<ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
    }
}
