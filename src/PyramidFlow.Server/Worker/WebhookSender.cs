using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Announces ended videos at the addresses of their requests, signed as Standard Webhooks describe it. An announcement is tried until it is received, with growing pauses; it is in the database, so that it survives the end of
/// this process, and is sent at least once.
/// </summary>
internal sealed partial class WebhookSender(
    IWebhookStore store, WebhookRules rules, WebhookClient client, WebhookSecrets secrets, ApiKeys keys, JobSignals signals, BackgroundHealth health, ILogger<WebhookSender> log)
    : BackgroundLoop("webhooks", health, log)
{
    /// <summary>Announcements that one receiver is sent at once, so that a slow one delays its own only.</summary>
    internal const int MostOfReceiver = 2;

    private const int MostAtOnce = 512;
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(1);
    private readonly List<(string Receiver, Task Task)> sending = [];

    /// <summary>Stops looking for announcements, and waits for those under way, which are cancelled.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken).ConfigureAwait(false);
        if (ExecuteTask is not { IsCompleted: false })
            await Task.WhenAll(sending.Select(each => each.Task)).WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    protected override async Task TurnAsync(CancellationToken stoppingToken)
    {
        var signal = signals.Next;
        while (sending.Count < MostAtOnce && await store.NextWebhookAsync(rules.Pauses, Busy(), stoppingToken).ConfigureAwait(false) is { } next)
            sending.Add((WebhookRules.ReceiverOf(next.Url), SendAsync(next, stoppingToken)));
        ReportSuccess();
        var news = JobSignals.WaitAsync(signal, Look, stoppingToken);
        await Task.WhenAny([news, .. sending.Select(each => each.Task)]).ConfigureAwait(false);
        var ended = sending.Where(each => each.Task.IsCompleted).Select(each => each.Task).ToList();
        sending.RemoveAll(each => ended.Contains(each.Task));
        // What the queue has refused is sent again later.
        await Task.WhenAll(ended).ConfigureAwait(false);
    }

    private string[] Busy() => [.. sending.GroupBy(each => each.Receiver, StringComparer.Ordinal).Where(ofOne => ofOne.Count() >= MostOfReceiver).Select(ofOne => ofOne.Key)];

    private async Task SendAsync(WebhookEvent announced, CancellationToken cancellationToken)
    {
        // Rules and keys may have changed since the request.
        if (keys.Allows(announced.Owner) && rules.Allows(announced.Url))
        {
            var (isReceived, isGone, answer) = await client.PostAsync(announced, secrets.Of(announced.Owner), cancellationToken).ConfigureAwait(false);
            if (!isReceived)
            {
                var isLast = isGone || announced.Attempt > rules.Pauses.Count;
                LogFailed(log, announced.Video, announced.Attempt, new Uri(announced.Url).IdnHost, answer, isLast ? "given up" : "tried again later");
                if (!isLast)
                    return;
            }
        }

        await store.RemoveWebhookAsync(announced.Id, cancellationToken).ConfigureAwait(false);
    }

    // The rest of the address may hold a secret.
    [LoggerMessage(Level = LogLevel.Warning, Message = "The end of {Video} was not received (try {Attempt}) by {Host}: {Answer}; {Next}")]
    private static partial void LogFailed(ILogger log, string video, int attempt, string host, string answer, string next);
}

/// <summary>
/// Sends announcements. The address of a host is looked up here and checked before it is connected to, so that no name can lead to a private network; redirects are not followed, no proxy is used, and of the answer only the
/// status is read.
/// </summary>
internal sealed class WebhookClient : IDisposable
{
    private const int MostHeaderKibibytes = 16;
    private readonly WebhookRules rules;
    private readonly HttpClient http;

    public WebhookClient(WebhookRules rules)
    {
        this.rules = rules;
        http = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
            MaxResponseHeadersLength = MostHeaderKibibytes,
            MaxResponseDrainSize = 0,
            // A name may lead elsewhere later.
            PooledConnectionLifetime = TimeSpan.FromMinutes(1),
            ConnectCallback = ConnectAsync,
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
        http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("PyramidFlow", null));
    }

    /// <summary>Sends an announcement.</summary>
    /// <param name="announced">What is announced, and where.</param>
    /// <param name="secret">The secret of its receiver.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <returns>Whether it was received, whether the receiver wants no more, and the answer for the log.</returns>
    public async Task<(bool IsReceived, bool IsGone, string Answer)> PostAsync(WebhookEvent announced, byte[] secret, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(rules.Timeout);
        try
        {
            var (body, now) = (Body(announced), DateTimeOffset.UtcNow.ToUnixTimeSeconds());
            using var request = new HttpRequestMessage(HttpMethod.Post, announced.Url) { Content = new ByteArrayContent(body) };
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            request.Headers.Add("webhook-id", announced.Id);
            request.Headers.Add("webhook-timestamp", FormattableString.Invariant($"{now}"));
            request.Headers.Add("webhook-signature", Sign(announced.Id, now, body, secret));
            using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, patience.Token).ConfigureAwait(false);
            return (answer.IsSuccessStatusCode, answer.StatusCode == HttpStatusCode.Gone, FormattableString.Invariant($"status {(int)answer.StatusCode}"));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return (false, false, "no answer in time");
        }
        catch (Exception e) when (e is HttpRequestException or IOException or SocketException)
        {
            return (false, false, Sentence.First(e.InnerException ?? e));
        }
    }

    /// <summary>The signature of an announcement: HMAC-SHA256 of id, time and body.</summary>
    public static string Sign(string id, long timestamp, byte[] body, byte[] secret) =>
        "v1," + Convert.ToBase64String(HMACSHA256.HashData(secret, (byte[])[.. Encoding.UTF8.GetBytes(FormattableString.Invariant($"{id}.{timestamp}.")), .. body]));

    public void Dispose() => http.Dispose();

    // The same bytes in all tries. The video itself is asked for with a key: an announcement tells nothing that is worth reading on its way.
    private static byte[] Body(WebhookEvent announced)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("id", announced.Id);
            json.WriteString("object", "event");
            json.WriteNumber("created_at", announced.CreatedAt.ToUnixTimeSeconds());
            json.WriteString("type", announced.Type);
            json.WriteStartObject("data");
            json.WriteString("id", announced.Video);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        return buffer.ToArray();
    }

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var (host, port) = (context.DnsEndPoint.Host, context.DnsEndPoint.Port);
        var addresses = IPAddress.TryParse(host.Trim('[', ']'), out var literal) ? [literal] : await Dns.GetHostAddressesAsync(host, cancellationToken).ConfigureAwait(false);
        var allowed = rules.AllowsPrivate ? addresses : [.. addresses.Where(WebhookRules.IsPublic)];
        if (allowed.Length == 0)
            throw new HttpRequestException("the host has no public address, and private ones are not allowed");
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(allowed, port, cancellationToken).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}

/// <summary>
/// The secrets by which receivers know announcements: one for each owner, made from one of the service, so that nobody can sign for another. That one is in a file of the data folder, which all servers share.
/// </summary>
/// <param name="folder">The data folder.</param>
internal sealed class WebhookSecrets(VideoFolder folder)
{
    private const string FileName = "webhook-secret", Prefix = "whsec_";
    private const int Bytes = 32;
    private readonly Lazy<byte[]> own = new(() => Read(Path.Combine(folder.Root, FileName)), LazyThreadSafetyMode.PublicationOnly);

    /// <summary>The secret of an owner.</summary>
    public byte[] Of(Owner owner) => HMACSHA256.HashData(own.Value, Encoding.UTF8.GetBytes(owner.Name));

    /// <summary>The secret of an owner in the form that libraries for Standard Webhooks take.</summary>
    public string Shown(Owner owner) => Prefix + Convert.ToBase64String(Of(owner));

    // Written under another name and moved into place, so that of several servers all take the first one's.
    private static byte[] Read(string path)
    {
        if (!File.Exists(path))
        {
            VideoFolder.CreatePrivate(Path.GetDirectoryName(path)!);
            var partial = $"{path}.partial-{Guid.NewGuid():N}";
            File.WriteAllBytes(partial, RandomNumberGenerator.GetBytes(Bytes));
            if (!OperatingSystem.IsWindows())
                File.SetUnixFileMode(partial, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            try
            {
                File.Move(partial, path, overwrite: false);
            }
            catch (IOException) when (File.Exists(path))
            {
                File.Delete(partial);
            }
        }

        var secret = File.ReadAllBytes(path);
        return secret.Length == Bytes ? secret : throw ServiceFault.WebhookSecretDamaged(path);
    }
}
