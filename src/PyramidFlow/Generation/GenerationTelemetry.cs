using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace PyramidFlow.Generation;

/// <summary>
/// Traces and metrics of pipelines, for <c>AddSource</c> and <c>AddMeter</c> of OpenTelemetry or any other listener. Nothing is measured without one. A span and a
/// measurement for each load (<c>pyramidflow.load</c>) and each run (<c>pyramidflow.generate</c>).
/// </summary>
public static class GenerationTelemetry
{
    /// <summary>Name of the <see cref="ActivitySource"/> and of the <see cref="System.Diagnostics.Metrics.Meter"/>.</summary>
    public const string Name = "PyramidFlow";

    private static readonly ActivitySource Source = new(Name);
    private static readonly Meter Meter = new(Name);
    private static readonly Histogram<double> LoadSeconds = Meter.CreateHistogram<double>("pyramidflow.load.duration", "s", "Duration of the loading of a model");
    private static readonly Histogram<double> RunSeconds = Meter.CreateHistogram<double>("pyramidflow.run.duration", "s", "Duration of a run of a pipeline, without the wait for its turn");
    private static readonly Counter<long> FramesMade = Meter.CreateCounter<long>("pyramidflow.frames", "{frame}", "Frames that were handed out");
    private static readonly UpDownCounter<long> Running = Meter.CreateUpDownCounter<long>("pyramidflow.runs.running", "{run}", "Runs at work");

    /// <summary>Begins to measure the loading of a model.</summary>
    internal static TelemetrySpan Load(string folder, PipelineOptions options)
    {
        var name = Path.GetFileName(Path.TrimEndingDirectorySeparator(folder));
        var activity = Source.StartActivity("pyramidflow.load");
        activity?.SetTag("pyramidflow.model", name).SetTag("pyramidflow.variant", options.Variant).SetTag("pyramidflow.device", options.Device?.ToString() ?? "cpu");
        return new TelemetrySpan(activity, LoadSeconds, null, new TagList { { "model", name } });
    }

    /// <summary>Begins to measure a run.</summary>
    internal static TelemetrySpan Run(PlannedModel? known, GenerationPlan plan)
    {
        var (clip, model) = (plan.Clip, known?.Name ?? "");
        var activity = Source.StartActivity("pyramidflow.generate");
        activity?.SetTag("pyramidflow.model", model).SetTag("pyramidflow.clips", plan.Clips.Count).SetTag("pyramidflow.width", clip.Width).SetTag("pyramidflow.height", clip.Height)
            .SetTag("pyramidflow.frames", clip.Frames).SetTag("pyramidflow.seed", (long)clip.Seed);
        return new TelemetrySpan(activity, RunSeconds, Running, new TagList { { "model", model } });
    }

    /// <summary>Counts frames that were handed out.</summary>
    internal static void Frames(int count, TagList tags) => FramesMade.Add(count, tags);
}

/// <summary>A load or a run that is measured.</summary>
internal sealed class TelemetrySpan : IDisposable
{
    private readonly Activity? activity;
    private readonly Histogram<double> seconds;
    private readonly UpDownCounter<long>? running;
    private readonly long start = Stopwatch.GetTimestamp();
    private TagList tags;
    private string outcome = "cancelled";

    internal TelemetrySpan(Activity? activity, Histogram<double> seconds, UpDownCounter<long>? running, TagList tags)
    {
        (this.activity, this.seconds, this.running, this.tags) = (activity, seconds, running, tags);
        running?.Add(1, tags);
    }

    /// <summary>Does the work that is measured.</summary>
    internal T Of<T>(Func<T> work)
    {
        try
        {
            var result = work();
            End(null);
            return result;
        }
        catch (Exception e)
        {
            End(e);
            throw;
        }
    }

    /// <summary>Counts frames.</summary>
    internal void Frames(int count) => GenerationTelemetry.Frames(count, tags);

    /// <summary>The work has ended, or failed.</summary>
    internal void End(Exception? fault)
    {
        outcome = fault switch { null => "completed", OperationCanceledException => "cancelled", _ => "failed" };
        if (outcome == "failed")
            activity?.SetStatus(ActivityStatusCode.Error, fault!.Message).AddException(fault);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        running?.Add(-1, tags);
        tags.Add("outcome", outcome);
        seconds.Record(Stopwatch.GetElapsedTime(start).TotalSeconds, tags);
        activity?.SetTag("pyramidflow.outcome", outcome).Dispose();
    }
}
