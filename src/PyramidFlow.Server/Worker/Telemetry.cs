using System.Diagnostics;
using System.Diagnostics.Metrics;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using PyramidFlow.Generation;

namespace PyramidFlow.Server.Worker;

/// <summary>Metrics and traces of the service, with OpenTelemetry.</summary>
internal sealed class Telemetry : IDisposable
{
    public const string Name = "PyramidFlow.Server";
    private const string Endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
    private readonly Meter meter;
    private readonly Counter<long> ended;
    private readonly Histogram<double> seconds;

    public Telemetry(IMeterFactory meters, BackgroundHealth health)
    {
        meter = meters.Create(Name);
        ended = meter.CreateCounter<long>("pyramidflow.videos.ended", "{video}", "Videos that this process completed, failed or lost");
        seconds = meter.CreateHistogram<double>("pyramidflow.video.duration", "s", "Duration of the generation of a video");
        meter.CreateObservableGauge("pyramidflow.background.working", () => health.Parts.Select(part => new Measurement<int>(part.Reason is null ? 1 : 0, new KeyValuePair<string, object?>("part", part.Name))),
            null, "1 for each background loop whose last turn succeeded, 0 for one whose last turn failed");
    }

    /// <summary>Traces of the generation of videos.</summary>
    public ActivitySource Activities { get; } = new(Name);

    /// <summary>Records the end of a video in this process.</summary>
    /// <param name="model">Name of the model.</param>
    /// <param name="how">Outcome: completed, failed or lost.</param>
    /// <param name="time">Duration.</param>
    public void Ended(string model, string how, TimeSpan time)
    {
        var tags = new TagList { { "model", model }, { "outcome", how } };
        ended.Add(1, tags);
        seconds.Record(time.TotalSeconds, tags);
    }

    /// <summary>Adds gauges for the length of the queue and the number of listeners.</summary>
    public void Observe(JobFeed feed)
    {
        meter.CreateObservableGauge("pyramidflow.queue.waiting", () => feed.Queue.Waiting, "{video}", "Queued videos");
        meter.CreateObservableGauge("pyramidflow.queue.running", () => feed.Queue.Running, "{video}", "Running videos");
        meter.CreateObservableGauge("pyramidflow.workers", () => feed.Queue.Workers.Count, "{worker}", "Workers that are running");
        meter.CreateObservableGauge("pyramidflow.queue.unreadable", () => feed.Unreadable, "{video}", "Unreadable entries of the queue that were set aside");
        meter.CreateObservableGauge("pyramidflow.listeners", () => feed.Watchers, "{listener}", "Pages and clients that receive progress");
    }

    public void Dispose()
    {
        Activities.Dispose();
        meter.Dispose();
    }

    /// <summary>Registers metrics and traces; they are exported by OTLP when OTEL_EXPORTER_OTLP_ENDPOINT is set.</summary>
    /// <param name="services">Services of the process.</param>
    /// <param name="more">Adds further metrics.</param>
    public static void Add(IServiceCollection services, Action<MeterProviderBuilder>? more = null)
    {
        services.AddSingleton<Telemetry>();
        var sends = Environment.GetEnvironmentVariable(Endpoint) is { Length: > 0 };
        services.AddOpenTelemetry()
            .ConfigureResource(resource => resource.AddService("pyramidflow"))
            .WithMetrics(metrics =>
            {
                metrics.AddMeter(Name).AddRuntimeInstrumentation();
                more?.Invoke(metrics);
                if (sends)
                    metrics.AddOtlpExporter();
            })
            .WithTracing(traces =>
            {
                traces.AddSource(Name).AddSource(GenerationTelemetry.Name).AddAspNetCoreInstrumentation(http =>
                {
                    http.EnrichWithHttpRequest = (activity, request) => HideTokens(activity, request.Path);
                    http.EnrichWithHttpResponse = (activity, response) => HideTokens(activity, response.HttpContext.Request.Path);
                });
                if (sends)
                    traces.AddOtlpExporter();
            });
    }

    // Whoever reads traces must not see the videos of others by their links.
    private static void HideTokens(Activity activity, PathString path) => activity.SetTag("url.path", LinkTokens.Hide(path));
}
