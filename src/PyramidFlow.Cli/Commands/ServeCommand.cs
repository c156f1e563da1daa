using System.CommandLine;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub;
using PyramidFlow.Models;
using PyramidFlow.Server;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>serve</c>: the web page and the REST service.</summary>
internal static class ServeCommand
{
    public static Command Create(CliConsole console)
    {
        var host = CliOptions.Text("--host", "ADDRESS", $"address to listen on; any but this machine's own needs a key ({About.Name} keys add) [default: 127.0.0.1]");
        var port = CliOptions.Whole("--port", "N", $"port to listen on; 0 takes a free one [default: {ServerOptions.DefaultPort}]", 0, ushort.MaxValue);
        var allowed = CliOptions.Text("--allow-host", "NAME,NAME", "names the service answers to, such as those of a proxy in front of it");
        var proxies = CliOptions.Text("--proxy", "ADDRESS,ADDRESS", "proxies in front of it, as addresses or networks: what they say of visitors (X-Forwarded-For, -Proto, -Host) is believed");
        var origins = CliOptions.Text("--cors-origin", "ORIGIN,ORIGIN", "origins whose pages may use REST, such as https://app.example, or '*' for all; keys are needed as from anywhere [default: none]");
        var webhooks = CliOptions.Text("--webhook-host", "HOST,HOST", "hosts where requests may have the end of their video announced, such as hooks.example, hooks.example:8443, *.example or '*' [default: none]");
        var privateWebhooks = CliOptions.Flag("--webhook-private", "webhooks may go to addresses of this machine and of private networks, and by http");
        var noWorker = CliOptions.Flag("--no-worker", "make no videos here: leave them to workers");
        var accessLog = CliOptions.Flag("--access-log", "write a line for each request: address, name of the key, method, path, status and time");
        var (queue, limits, model) = (new QueueOptions(), new LimitOptions(), new ModelOptions(takesRuns: false));
        var command = new ExampledCommand("serve", "Serves the web page and the REST service, and makes the videos asked for.",
            $"{About.Name} serve",
            $"{About.Name} serve --host 0.0.0.0 --data /srv/videos --keep-days 30",
            $"{About.Name} serve --no-worker --data /mnt/videos --database \"Host=db;Database=videos;Username=videos\"") { host, port, allowed, proxies, origins, webhooks, privateWebhooks, noWorker, accessLog };
        queue.AddTo(command);
        limits.AddTo(command);
        model.AddTo(command);
        command.SetAction((parsed, cancellationToken) =>
        {
            return parsed.GetValue(noWorker)
                ? ServeRun.ServeAsync(Alone(Options(model.Read(parsed))), console, cancellationToken)
                : ServeRun.TogetherAsync(model.Read(parsed), Options, ServeRun.ServeAsync, console, cancellationToken);

            ServerOptions Options(ModelArguments own)
            {
                var options = limits.Read(parsed, queue.Read(parsed, own));
                return options with
                {
                    Host = parsed.GetValue(host) ?? options.Host,
                    Port = parsed.GetValue(port) ?? options.Port,
                    AllowedHosts = Listed(parsed.GetValue(allowed)),
                    Proxies = Listed(parsed.GetValue(proxies)),
                    CrossOrigins = Listed(parsed.GetValue(origins)),
                    WebhookHosts = Listed(parsed.GetValue(webhooks)),
                    AllowsPrivateWebhooks = parsed.GetValue(privateWebhooks),
                    LogsRequests = parsed.GetValue(accessLog),
                    RunsWorker = !parsed.GetValue(noWorker),
                };
            }
        });
        return command;
    }

    private static ServerOptions Alone(ServerOptions options) =>
        Rendezvous.FromEnvironment(Environment.GetEnvironmentVariable) is null ? options : throw CommandFault.GroupWithoutWorker();

    private static string[] Listed(string? text) => text?.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) ?? [];
}

/// <summary><c>worker</c>: makes what the queue of a server holds.</summary>
internal static class WorkerCommand
{
    public static Command Create(CliConsole console)
    {
        var queue = new QueueOptions();
        var model = new ModelOptions(takesRuns: false);
        var command = new ExampledCommand("worker", "Joins the queue of a server and makes videos from it, one at a time.",
            $"{About.Name} worker --data /mnt/videos --database \"Host=db;Database=videos;Username=videos\" --device cuda:0");
        queue.AddTo(command);
        model.AddTo(command);
        command.SetAction((parsed, cancellationToken) => ServeRun.TogetherAsync(model.Read(parsed), own => queue.Read(parsed, own), ServeRun.WorkAsync, console, cancellationToken));
        return command;
    }
}

/// <summary>The options that servers and workers share.</summary>
internal sealed class QueueOptions
{
    /// <summary>Holds a connection string, so that a password need not be seen in a list of processes.</summary>
    private const string Variable = "PYRAMIDFLOW_DATABASE";

    private readonly Option<string?> data = DataOption();
    private readonly Option<string?> database = CliOptions.Text("--database", "STRING", $"PostgreSQL connection string of the queue, the same for the server and all workers [default: {Variable}, else a file in --data]");
    private readonly Option<string?> loras = CliOptions.Text("--lora-folder", "DIR", "folder of LoRAs that requests may name: safetensors files and folders of adapters; the same for the server and all workers [default: none]");
    private readonly Option<long?> loraMemory = CliOptions.Memory("--lora-memory", "most memory for weights with the LoRAs of earlier videos, so that their next use takes no time; 0 keeps none [default: 1GB]", zero: true);
    private readonly Option<int?> lease = CliOptions.Whole("--lease", "SECONDS", "after how long without a sign of life a worker counts as dead [default: 30]", 1, 86400);

    /// <summary>The option that names the folder of videos, queue and keys.</summary>
    public static Option<string?> DataOption() => CliOptions.Text("--data", "DIR", "folder of videos, queue and keys; a mount that all machines share if there are several [default: pyramidflow-data]");

    /// <summary>The named folder, or the default.</summary>
    public static string Folder(string? named) => named ?? "pyramidflow-data";

    public void AddTo(ExampledCommand command) => command.Group("Queue", data, database, lease, loras, loraMemory);

    /// <summary>Reads the options of a server or a worker.</summary>
    /// <exception cref="UsageException">There is no such model or variant.</exception>
    public ServerOptions Read(ParseResult parsed, ModelArguments model)
    {
        // Checked at the start, because the first video may be requested hours later.
        var first = model.Open().Root;
        var pipeline = model.Options();
        if (parsed.GetValue(loras) is { } folder && !Directory.Exists(folder))
            throw CommandFault.LoraFolderMissing(folder);
        var options = new ServerOptions
        {
            DataFolder = Folder(parsed.GetValue(data)),
            Database = parsed.GetValue(database) ?? (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } connection ? connection : null),
            Models = () => ServedModels.Of(first),
            LoraFolder = parsed.GetValue(loras) is { } named ? Path.GetFullPath(named) : null,
            Pipeline = pipeline with
            {
                PreviewEvery = ServerOptions.DefaultPreviewInterval,
                LoraCacheBytes = parsed.GetValue(loraMemory) ?? pipeline.LoraCacheBytes,

                // Users ask for what the ways on the command line do not fit.
                Parallel = pipeline.Parallel is { } parallel ? parallel with { MayChoose = true } : null,
            },
        };
        return parsed.GetValue(lease) is { } seconds ? options with { LeaseSeconds = seconds } : options;
    }
}

/// <summary>The limits of requests, and how long videos are kept.</summary>
internal sealed class LimitOptions
{
    private const double Gigabyte = 1e9;
    private static readonly ServerLimits Usual = new();

    private readonly Option<double?> keepDays = CliOptions.Number("--keep-days", "DAYS", "remove videos that are older [default: never]", zero: false);
    private readonly Option<double?> keepSize = CliOptions.Number("--keep-gb", "GB", "remove the oldest videos beyond so many gigabytes [default: never]", zero: false);
    private readonly Option<int?> active = CliOptions.Whole("--max-active", "N", $"videos of one key that may wait or be made at a time [default: {Usual.ActiveJobs}]", 1);
    private readonly Option<int?> day = CliOptions.Whole("--max-per-day", "N", "new videos that one key may ask for in 24 hours [default: any number]", 1);
    private readonly Option<int?> rate = CliOptions.Whole("--max-per-minute", "N", $"new videos that one key may ask for in a minute [default: {Usual.RequestsPerMinute}]", 1);
    private readonly Option<int?> frames = CliOptions.Whole("--max-frames", "N", $"frames of one video [default: {Usual.Frames}]", 1);

    private readonly Option<int?> connections = CliOptions.Whole("--max-connections", "N", $"connections at a time [default: {Usual.Connections}]", 1);
    private readonly Option<int?> perAddress = CliOptions.Whole("--max-connections-per-address", "N", $"connections from one address, of which a proxy has but one [default: {Usual.ConnectionsPerAddress}]", 1);
    private readonly Option<int?> idle = CliOptions.Whole("--max-idle", "SECONDS", FormattableString.Invariant($"how long a connection without a request is kept [default: {Usual.IdleSeconds}]"), 1, 86400);

    public void AddTo(ExampledCommand command) => command.Group("Limits", keepDays, keepSize, active, day, rate, frames, connections, perAddress, idle);

    /// <summary>Applies the typed limits to the options.</summary>
    public ServerOptions Read(ParseResult parsed, ServerOptions options) => options with
    {
        KeepDays = parsed.GetValue(keepDays),
        KeepBytes = parsed.GetValue(keepSize) is { } size ? (long)(size * Gigabyte) : null,
        Limits = Usual with
        {
            ActiveJobs = parsed.GetValue(active) ?? Usual.ActiveJobs,
            VideosPerDay = parsed.GetValue(day) ?? Usual.VideosPerDay,
            RequestsPerMinute = parsed.GetValue(rate) ?? Usual.RequestsPerMinute,
            Frames = parsed.GetValue(frames) ?? Usual.Frames,
            Connections = parsed.GetValue(connections) ?? Usual.Connections,
            ConnectionsPerAddress = parsed.GetValue(perAddress) ?? Usual.ConnectionsPerAddress,
            IdleSeconds = parsed.GetValue(idle) ?? Usual.IdleSeconds,
        },
    };
}

/// <summary>The models that a server offers: the default, then all installed ones.</summary>
internal static class ServedModels
{
    /// <param name="folder">Folder of the default model; listed even while it is missing.</param>
    public static IReadOnlyList<ModelFolder> Of(string folder)
    {
        var name = Path.GetFileName(folder);
        return [new ModelFolder(name, folder), .. ModelCatalog.Installed().Where(model => model.Name != name).Select(model => new ModelFolder(model.Name, model.Folder))];
    }

    /// <summary>The transformers of those of them that can be read.</summary>
    /// <param name="folder">Folder of the default model.</param>
    public static IEnumerable<ITransformerConfig> Transformers(string folder)
    {
        foreach (var model in Of(folder))
        {
            ITransformerConfig? transformer = null;
            try
            {
                transformer = TransformerConfigs.Load(CheckpointFolder.Open(model.Folder).Transformer().ConfigFile);
            }
            catch (Exception e) when (e is CheckpointException or IOException or UnauthorizedAccessException)
            {
                // The service names it when it is asked for.
            }

            if (transformer is not null)
                yield return transformer;
        }
    }
}

/// <summary>A run of <c>serve</c> or <c>worker</c>: until it is cancelled; what is being made then goes back into the queue.</summary>
internal static class ServeRun
{
    // The exporter of metrics may wait for an endpoint that does not answer.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <summary>Runs a server or worker; where several processes were started for it, rank zero runs it, and the others make each video together with it.</summary>
    /// <param name="model">The model as typed.</param>
    /// <param name="read">Reads the options with the model as this process takes part in it.</param>
    /// <param name="run">Runs the server or worker.</param>
    /// <param name="console">Receives what it says.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="RequestException">The ways are for another number of processes.</exception>
    public static Task<int> TogetherAsync(ModelArguments model, Func<ModelArguments, ServerOptions> read, Func<ServerOptions, CliConsole, CancellationToken, Task<int>> run,
        CliConsole console, CancellationToken cancellationToken)
    {
        var first = model.Open().Root;
        return SharedRun.OfAsync(model, console, async (own, _, _) =>
        {
            if (own is { Group: { } group, Ways: { } ways } && ways.Processes != group.WorldSize)
                throw RequestFault.ParallelOfOtherSize(ways.ToString(), ways.Processes, group.WorldSize);
            var options = read(own);
            var hasEnded = true;
            if (own.IsFollower)
                hasEnded = await VideoWorkers.FollowAsync(options, cancellationToken).ConfigureAwait(false);
            else
                await run(options, console, cancellationToken).ConfigureAwait(false);

            // A video that could not be stopped in time still uses the group, which must not be freed.
            if (!hasEnded || own.Group is { Stops.IsIdle: false })
                Environment.Exit(ExitCode.Ok);
            return ExitCode.Ok;
        }, cancellationToken, () => ServedModels.Transformers(first));
    }

    /// <exception cref="UsageException">The address cannot be listened on, or needs a key.</exception>
    /// <exception cref="CommandException">The port is in use, or the data folder cannot be used.</exception>
    /// <exception cref="ServiceException">The queue or the keys cannot be used.</exception>
    public static Task<int> ServeAsync(ServerOptions options, CliConsole console, CancellationToken cancellationToken)
    {
        var app = Build(() => VideoServer.Build(options), options);
        return RunAsync(app, options, () => $"listening on {string.Join(", ", app.Urls)}", console, cancellationToken);
    }

    /// <exception cref="ServiceException">The queue cannot be used.</exception>
    public static Task<int> WorkAsync(ServerOptions options, CliConsole console, CancellationToken cancellationToken) =>
        RunAsync(Build(() => VideoWorkers.Build(options), options), options, () => "waiting for videos to make", console, cancellationToken);

    private static T Build<T>(Func<T> build, ServerOptions options)
    {
        PrivateFiles.Begin();
        try
        {
            return build();
        }
        catch (ServiceOptionException e)
        {
            throw CommandFault.ValueRefused(e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CommandFault.DataFolder(Path.GetFullPath(options.DataFolder), e);
        }
    }

    private static async Task<int> RunAsync(IHost host, ServerOptions options, Func<string> ready, CliConsole console, CancellationToken cancellationToken)
    {
        try
        {
            await StartAsync(host, options, cancellationToken).ConfigureAwait(false);
            console.Result(ready());
            // The host stops by itself after a fatal fault of a background service.
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping);
            await Task.Delay(Timeout.Infinite, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await host.StopAsync(CancellationToken.None).ConfigureAwait(false);
            if (host.Services.GetServices<IHostedService>().OfType<BackgroundService>().Select(service => service.ExecuteTask?.Exception?.InnerException).OfType<Exception>().FirstOrDefault() is { } fault)
                throw CommandFault.ServiceStopped(fault);
            return ExitCode.Ok;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Cancelled while waiting for the database.
            await StopHalfStartedAsync(host).ConfigureAwait(false);
            return ExitCode.Ok;
        }
        finally
        {
            await Task.Run(host.Dispose, CancellationToken.None).WaitAsync(Patience, CancellationToken.None)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static async Task StartAsync(IHost host, ServerOptions options, CancellationToken cancellationToken)
    {
        try
        {
            await host.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            await StopHalfStartedAsync(host).ConfigureAwait(false);
            throw InWords(e, options);
        }
    }

    // The worker may have started before the port turned out to be taken. Stopping a service that never started throws, which is ignored.
    private static async Task StopHalfStartedAsync(IHost host) =>
        await host.StopAsync(CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    private static Exception InWords(Exception e, ServerOptions options) => (e, e.InnerException) switch
    {
        (AddressInUseException, _) or (_, AddressInUseException) or (SocketException { SocketErrorCode: SocketError.AddressAlreadyInUse }, _) =>
            CommandFault.PortInUse(options.Host, options.Port, e),
        (SocketException { SocketErrorCode: SocketError.AccessDenied }, _) =>
            CommandFault.PortForbidden(options.Port, e),
        (SocketException { SocketErrorCode: SocketError.AddressNotAvailable or SocketError.AddressFamilyNotSupported }, _) =>
            CommandFault.AddressElsewhere(options.Host, e),
        _ => e,
    };
}
