using System.Net;
using Microsoft.Extensions.FileProviders;
using PyramidFlow.Server.Page;
using PyramidFlow.Server.Rest;

namespace PyramidFlow.Server;

/// <summary>The service: REST and the web page, and unless told otherwise a worker in the same process.</summary>
public static class VideoServer
{
    /// <summary>Puts a server together; run it, or start and stop it.</summary>
    /// <param name="options">How it runs.</param>
    /// <param name="logging">Where its log goes; the console unless given.</param>
    public static WebApplication Build(ServerOptions options, Action<ILoggingBuilder>? logging = null)
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        ServerLog.Configure(builder.Logging, logging);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(IPAddress.Parse(options.Host), options.Port);
        });
        builder.Services.AddQueue(options).AddJobs();
        if (options.Works)
            builder.Services.AddWorker();
        builder.Services.AddRazorComponents().AddInteractiveServerComponents();
        var app = builder.Build();
        app.UseStaticFiles(new StaticFileOptions { FileProvider = new ManifestEmbeddedFileProvider(typeof(VideoServer).Assembly, "wwwroot") });
        app.UseAntiforgery();
        app.MapHealth();
        app.MapRazorComponents<App>().AddInteractiveServerRenderMode();
        return app;
    }
}
