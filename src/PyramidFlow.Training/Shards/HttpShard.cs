using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using PyramidFlow.Hub.Downloads;

namespace PyramidFlow.Training.Shards;

/// <summary>A shard on a server that answers requests for ranges.</summary>
/// <param name="address">The shard.</param>
/// <param name="options">Timeouts and retries.</param>
internal sealed class HttpShard(ShardAddress address, ShardOptions options) : ShardSource(address.Name)
{
    private const int MostRedirects = 5, MostWholes = 3;
    private const long WorthCounting = 1 << 20;

    // This class follows redirects itself, because user and password must not be sent to another host.
    private static readonly HttpClient Http = CreateClient();

    // Answers with a whole file before the first one with a part.
    private int wholes;

    /// <inheritdoc/>
    public override async Task<long> CopyAsync(long offset, long length, Stream target, CancellationToken cancellationToken)
    {
        var transfer = new Transfer(offset, length, target, new RetryLoop(options.Network));
        try
        {
            return await transfer.Retries.RunAsync(() => AttemptAsync(transfer, cancellationToken), cancellationToken).ConfigureAwait(false);
        }
        catch (HubException e)
        {
            throw TrainingFault.ShardUnreachable(Name, e);
        }
    }

    private static HttpClient CreateClient()
    {
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false, UseCookies = false, ConnectTimeout = TimeSpan.FromSeconds(15), PooledConnectionLifetime = TimeSpan.FromMinutes(5),
            // A body that nobody wants ends with its connection.
            MaxResponseDrainSize = 0,
        };
        var http = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
        http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("pyramidflow", "0.1"));
        return http;
    }

    // A part that is being copied; each attempt goes on where the last one ended.
    private sealed record Transfer(long Offset, long Length, Stream Target, RetryLoop Retries)
    {
        public long Done { get; set; }

        public long From => Offset + Done;

        public long Last => Offset + Length - 1;
    }

    private async Task<long> AttemptAsync(Transfer transfer, CancellationToken cancellationToken)
    {
        // Nothing is wanted, or an attempt broke behind the last byte.
        if (transfer.Done == transfer.Length)
            return transfer.Done;
        var most = options.Network.Stall + TimeSpan.FromSeconds((double)(transfer.Length - transfer.Done) / options.LeastRate);
        using var slow = new CancellationTokenSource(most, options.Network.Time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(slow.Token, cancellationToken);
        try
        {
            await FetchAsync(transfer, stop.Token).ConfigureAwait(false);
            return transfer.Done;
        }
        catch (OperationCanceledException e) when (slow.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new TransientException(string.Create(CultureInfo.InvariantCulture, $"{address.Remote!.Host} sends less than {options.LeastRate >> 10} KiB in a second"), inner: e);
        }
    }

    private async Task FetchAsync(Transfer transfer, CancellationToken cancellationToken)
    {
        using var response = await SendAsync(transfer.From, transfer.Last, cancellationToken).ConfigureAwait(false);
        var host = address.Remote!.Host;
        if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
        {
            // An empty file has no range at all.
            if (response.Content.Headers.ContentRange is not { Length: { } size } || size > transfer.From)
                throw new TransientException($"{host} denies a part of the shard that it has (416)");
            Check(VersionOf(response, size));
            return;
        }

        if (response.StatusCode != HttpStatusCode.PartialContent)
        {
            // Proxies lose a range now and then, but a server that never answered one has none.
            if (!IsKnown && Interlocked.Increment(ref wholes) == MostWholes)
                throw TrainingFault.ShardWithoutRanges(Name, host, (int)response.StatusCode);
            throw new TransientException($"{host} sends something else than the part that was asked for ({(int)response.StatusCode})");
        }

        if (response.Content.Headers.ContentRange is not { Unit: "bytes", From: { } from, To: { } to, Length: { } total }
            || from != transfer.From || to != Math.Min(transfer.Last, total - 1)
            || (response.Content.Headers.ContentLength is { } announced && announced != to - from + 1))
        {
            throw new TransientException($"{host} sends another part of the shard than asked for");
        }

        Check(VersionOf(response, total));
        await BodyAsync(transfer, response, to, cancellationToken).ConfigureAwait(false);
    }

    private async Task BodyAsync(Transfer transfer, HttpResponseMessage response, long last, CancellationToken cancellationToken)
    {
        var (host, counted) = (address.Remote!.Host, transfer.Done);
        using var watch = new StallWatch(options.Network, host, cancellationToken);
        await watch.CopyAsync(response, async (bytes, stop) =>
        {
            if (transfer.From + bytes.Length > last + 1)
                throw new TransientException($"{host} sends more of the shard than it announces");
            await transfer.Target.WriteAsync(bytes, stop).ConfigureAwait(false);
            transfer.Done += bytes.Length;
            if (transfer.Done - counted < WorthCounting)
                return;
            counted = transfer.Done;
            transfer.Retries.Progressed();
        }).ConfigureAwait(false);
        if (transfer.From <= last)
            throw new TransientException($"the connection to {host} ended {last + 1 - transfer.From} bytes before the end of the part that was asked for");
    }

    private static ShardVersion VersionOf(HttpResponseMessage response, long size) =>
        new(size, response.Headers.ETag?.ToString(), response.Content.Headers.LastModified?.ToString("O", CultureInfo.InvariantCulture));

    private async Task<HttpResponseMessage> SendAsync(long from, long last, CancellationToken cancellationToken)
    {
        var target = address.Remote!;
        for (var hop = 0; hop <= MostRedirects; hop++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, target);
            request.Headers.Range = new RangeHeaderValue(from, last);
            request.Headers.AcceptEncoding.ParseAdd("identity");
            if (address.Credentials is { } credentials && target.Scheme == address.Remote!.Scheme && target.Authority == address.Remote.Authority)
                request.Headers.Authorization = new AuthenticationHeaderValue("Basic", credentials);
            using var watch = new StallWatch(options.Network, target.Host, cancellationToken);
            var response = await watch.GuardAsync(stop => Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop)).ConfigureAwait(false);
            if (response.IsSuccessStatusCode || response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
                return response;
            using (response)
            {
                if (!HttpRedirect.Is(response))
                    throw Fault(response);
                target = HttpRedirect.Next(response, target) ?? throw TrainingFault.ShardRedirect(Name, target.Host, "to an address that is not safe");
            }
        }

        throw TrainingFault.ShardRedirect(Name, target.Host, "round in a circle");
    }

    private Exception Fault(HttpResponseMessage response)
    {
        if (HubResponses.Transient(response, address.Remote!.Host, options.Network.Time.GetUtcNow()) is { } transient)
            return transient;
        var status = (int)response.StatusCode;
        return response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.Gone ? TrainingFault.ShardMissing(Name, status) : TrainingFault.ShardRefused(Name, status);
    }
}
