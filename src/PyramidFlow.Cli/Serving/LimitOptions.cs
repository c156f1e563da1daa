using System.CommandLine;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Server;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Cli.Serving;

/// <summary>The options that say what users of a server may ask for and how long it is kept.</summary>
internal sealed class LimitOptions
{
    private const double Gigabyte = 1e9;
    private static readonly ServerLimits Usual = new();

    private readonly Option<double?> keepDays = CliOptions.Number("--keep-days", "DAYS", "remove videos that are older [default: never]", zero: false);
    private readonly Option<double?> keepSize = CliOptions.Number("--keep-gb", "GB", "remove the oldest videos beyond so many gigabytes [default: never]", zero: false);
    private readonly Option<int?> active = CliOptions.Whole("--max-active", "N", $"videos of one key that may wait or be made at a time [default: {Usual.ActiveJobs}]", 1);
    private readonly Option<int?> rate = CliOptions.Whole("--max-per-minute", "N", $"new videos that one key may ask for in a minute [default: {Usual.RequestsPerMinute}]", 1);
    private readonly Option<int?> frames = CliOptions.Whole("--max-frames", "N", $"frames of one video [default: {Usual.Frames}]", 1);

    private readonly Option<int?> connections = CliOptions.Whole("--max-connections", "N", $"connections at a time [default: {Usual.Connections}]", 1);
    private readonly Option<int?> perAddress = CliOptions.Whole("--max-connections-per-address", "N", $"connections from one address, of which a proxy has but one [default: {Usual.ConnectionsPerAddress}]", 1);
    private readonly Option<int?> idle = CliOptions.Whole("--max-idle", "SECONDS", FormattableString.Invariant($"how long a connection without a request is kept [default: {Usual.IdleSeconds}]"), 1, 86400);

    public void AddTo(ExampledCommand command) => command.Group("Limits", keepDays, keepSize, active, rate, frames, connections, perAddress, idle);

    /// <summary>The options with what was typed.</summary>
    public ServerOptions Read(ParseResult parsed, ServerOptions options) => options with
    {
        KeepDays = parsed.GetValue(keepDays),
        KeepBytes = parsed.GetValue(keepSize) is { } size ? (long)(size * Gigabyte) : null,
        Limits = Usual with
        {
            ActiveJobs = parsed.GetValue(active) ?? Usual.ActiveJobs,
            RequestsPerMinute = parsed.GetValue(rate) ?? Usual.RequestsPerMinute,
            Frames = parsed.GetValue(frames) ?? Usual.Frames,
            Connections = parsed.GetValue(connections) ?? Usual.Connections,
            ConnectionsPerAddress = parsed.GetValue(perAddress) ?? Usual.ConnectionsPerAddress,
            IdleSeconds = parsed.GetValue(idle) ?? Usual.IdleSeconds,
        },
    };
}
