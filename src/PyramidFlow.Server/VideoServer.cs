using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.FileProviders;
using OpenTelemetry.Metrics;
using PyramidFlow.Server.Page;
using PyramidFlow.Server.Http;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server;

/// <summary>The service: REST and the web page, and unless told otherwise a worker in the same process.</summary>
public static class VideoServer
{
    /// <summary>Puts a server together; run it, or start and stop it.</summary>
    /// <param name="options">How it runs.</param>
    /// <param name="logging">Where its log goes; standard error unless given.</param>
    /// <exception cref="ArgumentException">The address cannot be listened on, or needs a key that is not there.</exception>
    public static WebApplication Build(ServerOptions options, Action<ILoggingBuilder>? logging = null)
    {
        var keys = new ApiKeys(options.DataFolder);
        // Read on every address: damaged ones end the start, and not each request.
        _ = keys.InUse;
        var address = ListenRules.Check(options, keys);
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        var log = new ServerLog();
        log.Configure(builder.Logging, logging);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = options.Limits.VideoBytes + (1 << 20);
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(options.Limits.IdleSeconds);
            // Who sends drop by drop must not hold a connection for long.
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(options.Limits.HeaderSeconds);
            kestrel.Limits.MinRequestBodyDataRate = new MinDataRate(options.Limits.BodyBytesPerSecond, TimeSpan.FromSeconds(options.Limits.BodyGraceSeconds));
            var connections = kestrel.ApplicationServices.GetRequiredService<ConnectionLimits>();
            kestrel.Listen(address, options.Port, listen => listen.Use(next => connection => connections.HoldAsync(connection, next)));
        });
        builder.Services.AddQueue(options).AddJobs().AddAccess(options, keys).AddRateLimits().AddProxies(options.Proxies);
        if (options.Works)
            builder.Services.AddWorker();
        builder.Services.AddSingleton<ConnectionLimits>().AddSingleton<RequestReader>().AddSingleton<EventStream>();
        builder.Services.AddOpenApi("v1", document => document.AddDocumentTransformer((api, _, _) =>
        {
            (api.Info.Title, api.Info.Version) = ("PyramidFlow", "1");
            return Task.CompletedTask;
        }));
        builder.Services.ConfigureHttpJsonOptions(json => json.SerializerOptions.PropertyNamingPolicy = System.Text.Json.JsonNamingPolicy.SnakeCaseLower);
        builder.Services.AddPage();
        Telemetry.Add(builder.Services, metrics => metrics.AddAspNetCoreInstrumentation().AddPrometheusExporter());
        var app = builder.Build();
        app.Lifetime.ApplicationStarted.Register(() => log.HasStarted = true);
        app.Services.GetRequiredService<Telemetry>().Observe(app.Services.GetRequiredService<JobFeed>());
        Map(app);
        return app;
    }

    private static void Map(WebApplication app)
    {
        app.Use(ConnectionLimits.AnswerAsync);
        app.UseProxies();
        app.UseSafeHeaders();
        app.UseMiddleware<Problems>();
        app.UseMiddleware<OriginCheck>();
        app.UseStaticFiles(new StaticFileOptions { FileProvider = new ManifestEmbeddedFileProvider(typeof(VideoServer).Assembly, "wwwroot") });
        app.UseRouting();
        app.UseAccess();
        app.UseRateLimiter();
        app.UseAntiforgery();
        app.MapHealth();
        app.MapVideos();
        app.MapSession();
        app.MapOpenApi();
        app.MapPrometheusScrapingEndpoint("/metrics");
        // SafeHeaders says who may frame the page.
        app.MapRazorComponents<App>().AddInteractiveServerRenderMode(mode => mode.ContentSecurityFrameAncestorsPolicy = null);
    }
}
