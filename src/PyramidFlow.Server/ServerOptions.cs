using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server;

/// <summary>How the service and its workers run.</summary>
public sealed record ServerOptions
{
    /// <summary>The port unless another is asked for.</summary>
    public const int UsualPort = 8188;

    /// <summary>Least time between two previews of a video unless another is asked for.</summary>
    public static readonly TimeSpan UsualPreview = TimeSpan.FromMilliseconds(300);

    /// <summary>Folder of videos and, without a <see cref="Database"/>, of the queue; a shared mount when workers are elsewhere.</summary>
    public required string DataFolder { get; init; }

    /// <summary>Connection string of the PostgreSQL database that holds the queue; null keeps it in a file of <see cref="DataFolder"/>.</summary>
    public string? Database { get; init; }

    /// <summary>Finds the models there are, the default first.</summary>
    public required Func<IReadOnlyList<ModelFolder>> Models { get; init; }

    /// <summary>How models are loaded; the variant is chosen by each request.</summary>
    public PipelineOptions Pipeline { get; init; } = new() { PreviewEvery = UsualPreview };

    /// <summary>Address to listen on; other than loopback needs keys.</summary>
    public string Host { get; init; } = "127.0.0.1";

    /// <summary>Port to listen on; 0 takes a free one.</summary>
    public int Port { get; init; } = UsualPort;

    /// <summary>Names the service answers to beside its address; on a loopback address localhost is always one. None is any, elsewhere.</summary>
    public IReadOnlyList<string> AllowedHosts { get; init; } = [];

    /// <summary>
    /// Addresses, or networks such as <c>10.0.0.0/8</c>, of proxies in front of the service. What they say of the visitor's
    /// address, scheme and host (<c>X-Forwarded-For</c>, <c>-Proto</c>, <c>-Host</c>) is believed; nobody else's word is.
    /// </summary>
    public IReadOnlyList<string> Proxies { get; init; } = [];

    /// <summary>Days that videos are kept; null is for ever.</summary>
    public double? KeepDays { get; init; }

    /// <summary>Bytes that videos may take together, beyond which the oldest are removed; null is no limit.</summary>
    public long? KeepBytes { get; init; }

    /// <summary>Whether this process makes videos too, and not only other workers.</summary>
    public bool Works { get; init; } = true;

    /// <summary>Seconds a job belongs to a worker that gives no sign of life.</summary>
    public double LeaseSeconds { get; init; } = 30;

    /// <summary>How often a job is tried whose worker dies or whose disk is full.</summary>
    public int Attempts { get; init; } = 3;

    /// <summary>Seconds before a second try; the third waits four times as long.</summary>
    public double RetrySeconds { get; init; } = 2;

    /// <summary>What users may ask for.</summary>
    public ServerLimits Limits { get; init; } = new();
}
