using System.Globalization;
using System.Net.Http.Headers;

namespace PyramidFlow.Hub.Downloads;

/// <summary>Asks a Hugging Face hub for lists of files and for files.</summary>
public sealed class HubClient : IDisposable
{
    private const int MostRedirects = 8, MostPages = 1000, MostFiles = 100_000;
    private const int MostPageBytes = 32 << 20;

    // Redirects are followed here: the token must not go to another host.
    private readonly HttpClient http = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false, ConnectTimeout = TimeSpan.FromSeconds(30) })
    {
        Timeout = Timeout.InfiniteTimeSpan,
    };

    /// <summary>Makes a client; nothing is sent yet.</summary>
    /// <param name="hub">Whom to ask.</param>
    /// <param name="options">How patiently; null takes the defaults.</param>
    public HubClient(HubEndpoint hub, HubOptions? options = null)
    {
        (Hub, Options) = (hub, options ?? new HubOptions());
        http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("pyramidflow", "0.1"));
    }

    /// <summary>Whom it asks.</summary>
    public HubEndpoint Hub { get; }

    /// <summary>How patiently.</summary>
    public HubOptions Options { get; }

    /// <summary>All files of a repository, with sizes and hashes.</summary>
    /// <param name="source">The repository.</param>
    /// <param name="cancel">Stops asking.</param>
    /// <exception cref="HubException">It is refused, does not exist, stays out of reach, or lists something unfit.</exception>
    public async Task<IReadOnlyList<HubFile>> ListAsync(HubSource source, CancellationToken cancel = default)
    {
        var first = new Uri(Hub.Address, source.ListAddress);
        var files = new Dictionary<string, HubFile>(StringComparer.Ordinal);
        var page = first;
        for (var pages = 0; page is not null; pages++)
        {
            if (pages == MostPages || files.Count > MostFiles)
                throw new HubException($"{source.Repository} lists more than {MostFiles} files: it is no model");
            var (body, next) = await new RetryLoop(Options).RunAsync(() => PageAsync(source, page, cancel), cancel).ConfigureAwait(false);
            foreach (var file in HubListing.Parse(body, source.Repository))
                files[file.Path] = file;
            // Only the cursor is taken over, so that the list never comes from elsewhere.
            page = next is null ? null : new UriBuilder(first) { Query = next.Query }.Uri;
        }

        return [.. files.Values];
    }

    /// <summary>Frees the connections.</summary>
    public void Dispose() => http.Dispose();

    /// <summary>Begins to fetch a file; the body is read with <see cref="StallWatch"/>.</summary>
    /// <param name="source">The repository.</param>
    /// <param name="file">The file.</param>
    /// <param name="from">First byte wanted; the server may send all of them nevertheless (200 in the place of 206).</param>
    /// <param name="cancel">Stops asking.</param>
    /// <exception cref="HubException">It is refused.</exception>
    /// <exception cref="TransientException">Another try may help.</exception>
    internal Task<HttpResponseMessage> OpenAsync(HubSource source, HubFile file, long from, CancellationToken cancel) =>
        SendAsync(new Uri(Hub.Address, source.FileAddress(file)), from, source, file.Path, cancel);

    private async Task<(byte[] Body, Uri? Next)> PageAsync(HubSource source, Uri address, CancellationToken cancel)
    {
        using var response = await SendAsync(address, 0, source, "list of files", cancel).ConfigureAwait(false);
        using var body = new MemoryStream();
        using var watch = new StallWatch(Options, Hub.Address.Host, cancel);
        await watch.CopyAsync(response, (bytes, _) =>
        {
            if (body.Length + bytes.Length > MostPageBytes)
                throw new HubException($"the list of files of {source.Repository} has no end: look at HF_ENDPOINT");
            body.Write(bytes.Span);
            return ValueTask.CompletedTask;
        }).ConfigureAwait(false);
        return (body.ToArray(), Next(response, address));
    }

    private async Task<HttpResponseMessage> SendAsync(Uri address, long from, HubSource source, string what, CancellationToken cancel)
    {
        for (var hop = 0; hop <= MostRedirects; hop++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, address);
            if (Hub.Token is { } token && Hub.Owns(address))
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            if (from > 0)
                request.Headers.Range = new RangeHeaderValue(from, null);
            using var watch = new StallWatch(Options, address.Host, cancel);
            var response = await watch.GuardAsync(stop => http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop)).ConfigureAwait(false);
            if (response.IsSuccessStatusCode)
                return response;
            using (response)
            {
                if ((int)response.StatusCode is not (301 or 302 or 303 or 307 or 308))
                    throw HubAnswers.Fault(response, Hub, source, what, Options.Time.GetUtcNow());
                address = Redirected(response, address, source);
            }
        }

        throw new HubException(string.Create(CultureInfo.InvariantCulture, $"{Hub.Address.Host} sends {what} of {source.Repository} round in a circle: look at HF_ENDPOINT"));
    }

    private static Uri Redirected(HttpResponseMessage response, Uri address, HubSource source)
    {
        var next = response.Headers.Location is { } location ? new Uri(address, location) : null;
        return next is { Scheme: "https" } || (next is { Scheme: "http" } && address.Scheme == "http")
            ? next
            : throw new HubException($"{address.Host} sends {source.Repository} on to an address that is not safe: look at HF_ENDPOINT");
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
