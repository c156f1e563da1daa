using System.Globalization;
using System.Net.Http.Headers;

namespace PyramidFlow.Hub.Downloads;

/// <summary>HTTP client of a Hugging Face hub: lists the files of repositories and fetches them.</summary>
internal sealed class HubClient : IDisposable
{
    private const int MaxRedirects = 8, MaxPages = 1000, MaxFiles = 100_000;
    private const int MaxPageBytes = 32 << 20;

    // This class follows redirects itself, because the token must not be sent to another host.
    private readonly HttpClient http = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false, ConnectTimeout = TimeSpan.FromSeconds(30) })
    {
        Timeout = Timeout.InfiniteTimeSpan,
    };

    /// <summary>Creates a client; sends nothing.</summary>
    /// <param name="hub">The hub.</param>
    /// <param name="options">Timeouts and retries; null means the defaults.</param>
    public HubClient(HubEndpoint hub, HubOptions? options = null)
    {
        (Hub, Options) = (hub, options ?? new HubOptions());
        http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("pyramidflow", "0.1"));
    }

    /// <summary>The hub.</summary>
    public HubEndpoint Hub { get; }

    /// <summary>Timeouts and retries.</summary>
    public HubOptions Options { get; }

    /// <summary>Lists all files of a repository with sizes and hashes.</summary>
    /// <param name="source">The repository.</param>
    /// <param name="cancellationToken">Cancels the request.</param>
    /// <exception cref="HubException">The repository is refused, does not exist, stays unreachable, or has an invalid list.</exception>
    public async Task<IReadOnlyList<HubFile>> ListAsync(HubSource source, CancellationToken cancellationToken = default)
    {
        var first = new Uri(Hub.Address, source.ListAddress);
        var files = new Dictionary<string, HubFile>(StringComparer.Ordinal);
        var page = first;
        for (var pages = 0; page is not null; pages++)
        {
            if (pages == MaxPages || files.Count > MaxFiles)
                throw HubFault.TooManyFiles(source.Repository, MaxFiles);
            var (body, next) = await new RetryLoop(Options).RunAsync(() => PageAsync(source, page, cancellationToken), cancellationToken).ConfigureAwait(false);
            foreach (var file in HubListing.Parse(body, source.Repository))
                files[file.Path] = file;
            // Only the cursor of the link is used, so that all pages come from this hub.
            page = next is null ? null : new UriBuilder(first) { Query = next.Query }.Uri;
        }

        return [.. files.Values];
    }

    /// <summary>Closes the connections.</summary>
    public void Dispose() => http.Dispose();

    /// <summary>Begins to fetch a file; read the body with <see cref="StallWatch"/>.</summary>
    /// <param name="source">The repository.</param>
    /// <param name="file">The file.</param>
    /// <param name="from">First byte to fetch. The server may send the whole file nevertheless (status 200 instead of 206).</param>
    /// <param name="cancellationToken">Cancels the request.</param>
    /// <exception cref="HubException">The request is refused.</exception>
    /// <exception cref="TransientException">The request may succeed later.</exception>
    internal Task<HttpResponseMessage> OpenAsync(HubSource source, HubFile file, long from, CancellationToken cancellationToken) =>
        SendAsync(new Uri(Hub.Address, source.FileAddress(file)), from, source, file.Path, cancellationToken);

    private async Task<(byte[] Body, Uri? Next)> PageAsync(HubSource source, Uri address, CancellationToken cancellationToken)
    {
        using var response = await SendAsync(address, 0, source, "list of files", cancellationToken).ConfigureAwait(false);
        using var body = new MemoryStream();
        using var watch = new StallWatch(Options, Hub.Address.Host, cancellationToken);
        await watch.CopyAsync(response, (bytes, _) =>
        {
            if (body.Length + bytes.Length > MaxPageBytes)
                throw HubFault.EndlessList(source.Repository);
            body.Write(bytes.Span);
            return ValueTask.CompletedTask;
        }).ConfigureAwait(false);
        return (body.ToArray(), Next(response, address));
    }

    private async Task<HttpResponseMessage> SendAsync(Uri address, long from, HubSource source, string what, CancellationToken cancellationToken)
    {
        for (var hop = 0; hop <= MaxRedirects; hop++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, address);
            if (Hub.Token is { } token && Hub.Owns(address))
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            if (from > 0)
                request.Headers.Range = new RangeHeaderValue(from, null);
            using var watch = new StallWatch(Options, address.Host, cancellationToken);
            var response = await watch.GuardAsync(stop => http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop)).ConfigureAwait(false);
            if (response.IsSuccessStatusCode)
                return response;
            using (response)
            {
                if (!HttpRedirect.Is(response))
                    throw HubResponses.Fault(response, Hub, source, what, Options.Time.GetUtcNow());
                address = HttpRedirect.Next(response, address) ?? throw HubFault.UnsafeRedirect(address.Host, source.Repository);
            }
        }

        throw HubFault.RedirectLoop(Hub.Address.Host, what, source.Repository);
    }

    // Link: <https://...?cursor=...>; rel="next"
    private static Uri? Next(HttpResponseMessage response, Uri address)
    {
        if (!response.Headers.TryGetValues("Link", out var values))
            return null;
        var link = values.SelectMany(value => value.Split(',')).FirstOrDefault(value => value.Contains("rel=\"next\"", StringComparison.Ordinal));
        var (start, end) = (link?.IndexOf('<', StringComparison.Ordinal) ?? -1, link?.IndexOf('>', StringComparison.Ordinal) ?? -1);
        return start >= 0 && end > start && Uri.TryCreate(address, link![(start + 1)..end], out var next) ? next : null;
    }
}

/// <summary>Redirects of HTTP, which clients with secrets follow themselves.</summary>
internal static class HttpRedirect
{
    /// <summary>Whether a response sends its client on.</summary>
    internal static bool Is(HttpResponseMessage response) => (int)response.StatusCode is 301 or 302 or 303 or 307 or 308;

    /// <summary>Where to; null if that is no address of HTTP, or one without encryption where the request had it.</summary>
    /// <param name="response">The response.</param>
    /// <param name="address">Address of the request.</param>
    internal static Uri? Next(HttpResponseMessage response, Uri address)
    {
        var next = response.Headers.Location is { } location ? new Uri(address, location) : null;
        return next is { Scheme: "https" } || (next is { Scheme: "http" } && address.Scheme == "http") ? next : null;
    }
}

/// <summary>Translates HTTP error statuses into messages for the user.</summary>
internal static class HubResponses
{
    /// <summary>The exception for a response: transient if the request may succeed later.</summary>
    internal static Exception Fault(HttpResponseMessage response, HubEndpoint hub, HubSource source, string what, DateTimeOffset now)
    {
        var host = response.RequestMessage?.RequestUri?.Host ?? hub.Address.Host;
        if (Transient(response, host, now) is { } transient)
            return transient;
        var isHub = response.RequestMessage?.RequestUri is { } address && hub.Owns(address);
        return HubFault.Refused(response.StatusCode, host, isHub, hub, source, what);
    }

    /// <summary>The exception for a response to a request that may succeed later; null for other ones.</summary>
    internal static TransientException? Transient(HttpResponseMessage response, string host, DateTimeOffset now)
    {
        var code = (int)response.StatusCode;
        if (code is not (408 or 425 or 429 or >= 500))
            return null;
        var state = code == 429 ? "is asked too often" : "is out of order";
        return new TransientException(string.Create(CultureInfo.InvariantCulture, $"{host} {state} ({code})"), RetryAfter(response, now)) { Status = code };
    }

    private static TimeSpan? RetryAfter(HttpResponseMessage response, DateTimeOffset now)
    {
        var asked = response.Headers.RetryAfter;
        var wait = asked?.Delta ?? (asked?.Date is { } date ? date - now : null);
        return wait is { } span ? (span > TimeSpan.Zero ? span : TimeSpan.Zero) : null;
    }
}

/// <summary>Repeats a failing operation with exponential backoff.</summary>
/// <param name="options">Number of attempts and length of waits.</param>
internal sealed class RetryLoop(HubOptions options)
{
    private int failures;

    /// <summary>Resets the number of failures after progress.</summary>
    internal void Progressed() => failures = 0;

    /// <summary>Runs an operation until it succeeds.</summary>
    /// <param name="attempt">The operation; throws <see cref="TransientException"/> to be repeated.</param>
    /// <param name="cancellationToken">Also ends waits.</param>
    /// <exception cref="HubException">Too many attempts failed, or the server asks for a wait that is too long.</exception>
    internal async Task<T> RunAsync<T>(Func<Task<T>> attempt, CancellationToken cancellationToken)
    {
        while (true)
        {
            TransientException fault;
            try
            {
                return await attempt().ConfigureAwait(false);
            }
            catch (TransientException e)
            {
                fault = e;
            }

            if (++failures >= options.Attempts)
                throw HubFault.GivenUp(fault, failures);
            var wait = fault.RetryAfter ?? Min(options.FirstWait * Math.Pow(2, failures - 1), options.LongestWait);
            if (wait > options.LongestWait)
                throw HubFault.LongWait(fault, wait, Text(wait));
            options.Notify?.Invoke($"{fault.Message}; again in {Text(wait)}");
            await Task.Delay(wait, options.Time, cancellationToken).ConfigureAwait(false);
        }
    }

    private static TimeSpan Min(TimeSpan a, TimeSpan b) => a < b ? a : b;

    private static string Text(TimeSpan wait) => wait.TotalMinutes >= 2
        ? string.Create(CultureInfo.InvariantCulture, $"{Math.Ceiling(wait.TotalMinutes)} minutes")
        : string.Create(CultureInfo.InvariantCulture, $"{Math.Ceiling(wait.TotalSeconds)} s");
}

/// <summary>Runs network calls with a stall timeout; stalled and dropped connections become <see cref="TransientException"/>.</summary>
internal sealed class StallWatch : IDisposable
{
    private readonly HubOptions options;
    private readonly string host;
    private readonly CancellationToken cancellationToken;
    private readonly CancellationTokenSource source;
    private readonly ITimer timer;

    /// <summary>Starts the timeout.</summary>
    /// <param name="options">Timeout and clock.</param>
    /// <param name="host">Host name for error messages.</param>
    /// <param name="cancellationToken">Cancellation by the user.</param>
    internal StallWatch(HubOptions options, string host, CancellationToken cancellationToken)
    {
        (this.options, this.host, this.cancellationToken) = (options, host, cancellationToken);
        source = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timer = options.Time.CreateTimer(_ => source.Cancel(), null, options.Stall, Timeout.InfiniteTimeSpan);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        timer.Dispose();
        source.Dispose();
    }

    /// <summary>Runs one network call.</summary>
    /// <exception cref="TransientException">The connection failed or stalled.</exception>
    internal async Task<T> GuardAsync<T>(Func<CancellationToken, Task<T>> call)
    {
        try
        {
            return await call(source.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TransientException(string.Create(CultureInfo.InvariantCulture, $"{host} sent nothing for {options.Stall.TotalSeconds:F0} s"), inner: e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new TransientException($"the connection to {host} failed ({(e.InnerException ?? e).Message.TrimEnd('.')})", inner: e);
        }
    }

    /// <summary>Reads a body to its end; each piece restarts the timeout.</summary>
    /// <param name="response">Response to read.</param>
    /// <param name="take">Receives the pieces in order; its exceptions are passed to the caller.</param>
    internal async Task CopyAsync(HttpResponseMessage response, Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> take)
    {
        var buffer = new byte[1 << 17];
        using var body = await GuardAsync(response.Content.ReadAsStreamAsync).ConfigureAwait(false);
        while (await GuardAsync(stop => body.ReadAsync(buffer, stop).AsTask()).ConfigureAwait(false) is var count and > 0)
        {
            timer.Change(options.Stall, Timeout.InfiniteTimeSpan);
            await take(buffer.AsMemory(0, count), cancellationToken).ConfigureAwait(false);
        }
    }
}

/// <summary>A failure that may not happen again: a dropped connection, a busy or failing server.</summary>
/// <param name="message">What happened, without the fix.</param>
/// <param name="retryAfter">Wait that the server asks for, or null.</param>
/// <param name="inner">Cause, if any.</param>
internal sealed class TransientException(string message, TimeSpan? retryAfter = null, Exception? inner = null) : Exception(message, inner)
{
    internal TimeSpan? RetryAfter { get; } = retryAfter;

    /// <summary>HTTP status; null when no answer came.</summary>
    internal int? Status { get; init; }
}
