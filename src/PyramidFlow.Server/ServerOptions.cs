using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server;

/// <summary>Configuration of the service and its workers.</summary>
public sealed record ServerOptions
{
    /// <summary>Default port.</summary>
    public const int DefaultPort = 8188;

    /// <summary>Default minimum time between two previews of a video.</summary>
    public static readonly TimeSpan DefaultPreviewInterval = TimeSpan.FromMilliseconds(300);

    /// <summary>Folder of videos and, without a <see cref="Database"/>, of the queue. Workers on other machines need a shared mount.</summary>
    public required string DataFolder { get; init; }

    /// <summary>Connection string of a PostgreSQL database for the queue; null keeps the queue in a file of <see cref="DataFolder"/>.</summary>
    public string? Database { get; init; }

    /// <summary>Returns the available models, the default first.</summary>
    public required Func<IReadOnlyList<ModelFolder>> Models { get; init; }

    /// <summary>How models are loaded; each request selects the variant.</summary>
    public PipelineOptions Pipeline { get; init; } = new() { PreviewEvery = DefaultPreviewInterval };

    /// <summary>Folder of the LoRAs that requests may name: safetensors files, and folders of adapters. Null for none. Servers and workers need the same.</summary>
    public string? LoraFolder { get; init; }

    /// <summary>Address to listen on; any other than loopback requires keys.</summary>
    public string Host { get; init; } = "127.0.0.1";

    /// <summary>Port to listen on; 0 selects a free one.</summary>
    public int Port { get; init; } = DefaultPort;

    /// <summary>
    /// Accepted host names beside the address. On a loopback address localhost is always accepted; elsewhere an empty
    /// list accepts any name.
    /// </summary>
    public IReadOnlyList<string> AllowedHosts { get; init; } = [];

    /// <summary>
    /// Addresses, or networks such as <c>10.0.0.0/8</c>, of trusted proxies. Their headers for the visitor's address,
    /// scheme and host (<c>X-Forwarded-For</c>, <c>-Proto</c>, <c>-Host</c>) are used; those of anybody else are
    /// ignored.
    /// </summary>
    public IReadOnlyList<string> Proxies { get; init; } = [];

    /// <summary>Origins such as <c>https://app.example</c> whose pages may use REST (CORS), with a key like any program; <c>*</c> for all, which needs keys. None by default.</summary>
    public IReadOnlyList<string> CrossOrigins { get; init; } = [];

    /// <summary>
    /// Hosts where requests may have the end of their video announced (webhooks), such as <c>hooks.example</c>, <c>hooks.example:8443</c> or <c>*.example</c>; <c>*</c> for all. None by default.
    /// </summary>
    public IReadOnlyList<string> WebhookHosts { get; init; } = [];

    /// <summary>Whether webhooks may go to addresses of this machine and of private networks, and by <c>http</c>.</summary>
    public bool AllowsPrivateWebhooks { get; init; }

    /// <summary>Pauses between tries of a webhook; null for the usual ones.</summary>
    internal IReadOnlyList<TimeSpan>? WebhookPauses { get; init; }

    /// <summary>Where webhooks may go, and how often they are tried.</summary>
    internal WebhookRules Webhooks
    {
        get
        {
            var rules = new WebhookRules(WebhookHosts, AllowsPrivateWebhooks);
            return WebhookPauses is { } pauses ? rules with { Pauses = pauses } : rules;
        }
    }

    /// <summary>Whether each request is logged with address, name of the key, status and time.</summary>
    public bool LogsRequests { get; init; }

    /// <summary>Days that videos are kept; null keeps them for ever.</summary>
    public double? KeepDays { get; init; }

    /// <summary>Maximum total bytes of all videos, beyond which the oldest are removed; null for no limit.</summary>
    public long? KeepBytes { get; init; }

    /// <summary>Whether this process makes videos itself; otherwise only other workers do.</summary>
    public bool RunsWorker { get; init; } = true;

    /// <summary>Seconds after which a job is taken from a worker that does not respond.</summary>
    public double LeaseSeconds { get; init; } = 30;

    /// <summary>Maximum number of attempts for a job whose worker dies or whose disk is full.</summary>
    public int Attempts { get; init; } = 3;

    /// <summary>Seconds before the second attempt; the third waits four times as long.</summary>
    public double RetrySeconds { get; init; } = 2;

    /// <summary>Limits on requests of users.</summary>
    public ServerLimits Limits { get; init; } = new();
}
