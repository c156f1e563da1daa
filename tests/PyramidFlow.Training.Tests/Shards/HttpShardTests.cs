using System.Collections.Concurrent;
using System.Formats.Tar;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using PyramidFlow.Hub.Downloads;
using PyramidFlow.Testing;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Tests.Shards;

/// <summary>Shards on a server, which may do anything.</summary>
public sealed class HttpShardTests : IDisposable
{
    private readonly ShardFolder folder = new();
    private readonly FaultLog faults = new();
    private readonly ConcurrentDictionary<string, byte[]> shards = new();
    private string tag = "\"1\"";

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Batches_of_a_server_that_drops_stalls_and_lies_are_those_of_files_to_the_bit()
    {
        const int count = 100;
        folder.Options = folder.Options with { Network = folder.Options.Network with { Stall = TimeSpan.FromSeconds(0.25) } };
        var lines = new List<string>();
        for (var shard = 0; shard < count; shard++)
        {
            var members = new List<(string, byte[])>();
            for (var i = 0; i < 3; i++)
            {
                var (key, latent) = ($"{shard:D2}{i}", folder.Latent((3 * shard) + i));
                lines.Add(JsonSerializer.Serialize(new { latent = folder.Write($"{key}.latent.safetensors", latent), text = key }));
                // Something between them that a scan skips.
                members.AddRange([($"{key}.latent.safetensors", latent), ($"{key}.txt", Encoding.UTF8.GetBytes(key)), ($"{key}.sound.wav", new byte[shard % 10 == 0 ? 300_000 : 0])]);
            }

            shards[$"/clips-{shard:D3}.tar"] = TarBuilder.Write(TarEntryFormat.Gnu, [.. members]);
        }

        var served = new ConcurrentDictionary<int, int>();
        var asked = new ConcurrentDictionary<string, int>();
        using var server = new HubServer(request =>
        {
            // What happens follows from the request and how often it came, so that threads change nothing.
            var again = asked.AddOrUpdate($"{request.Path} {request.Headers["range"]}", 0, (_, times) => times + 1);
            var fault = new Random(HashCode(request.Path, request.From, request.Last ?? 0, again)).Next(40);
            served.AddOrUpdate(fault, 1, (_, times) => times + 1);
            return Lie(fault, request, Good(request), shards[request.Path.Split('?')[0]]);
        });
        using var files = await folder.OpenAsync(faults, folder.Write("all.jsonl", string.Join('\n', lines)));
        using (var remote = await folder.OpenAsync(faults, $"{server.Address}/clips-{{000..099}}.tar"))
        {
            Assert.Equal(files.Plan.Digest, remote.Plan.Digest);
            Assert.Equal(ShardFolder.Digests(files, 90), ShardFolder.Digests(remote, 90));
        }

        Assert.Empty(faults.Faults);
        Assert.Equal(0, folder.Spooled);
        Assert.All(Enumerable.Range(0, 12), fault => Assert.True(served.GetValueOrDefault(fault) > 0, $"fault {fault} never came"));

        // A restart asks each shard once whether it is the same. The query tells its requests from those that the first start has sent ahead; it is no part of a shard's name.
        (await folder.OpenAsync(faults, $"{server.Address}/clips-{{000..099}}.tar?restart")).Dispose();
        var restart = server.Requests.Where(request => request.Path.EndsWith("?restart", StringComparison.Ordinal)).ToList();
        Assert.Equal(count, restart.DistinctBy(request => request.Path).Count());
        Assert.All(restart, request => Assert.Equal(511, request.Last));
    }

    [Fact]
    public async Task Another_version_is_told_while_a_run_goes_on_and_afterwards()
    {
        using var server = Serve(Good);
        var address = Add("a.tar", 1);
        using (var source = await folder.OpenAsync(faults, server.Address + address))
        {
            ShardFolder.Digests(source, 1);
            tag = "\"2\"";
            Is(Assert.Throws<TrainingException>(() => ShardFolder.Digests(source, 20)), "shard_changed", server, address);
        }

        Is(await Assert.ThrowsAsync<TrainingException>(() => folder.OpenAsync(faults, server.Address + address)), "shard_changed", server, address);
        await new DataCheck(folder.Data(server.Address + address), ShardFolder.Channels).RunAsync(null, decode: false, cancellationToken: Ct);
        (await folder.OpenAsync(faults, server.Address + address)).Dispose();
    }

    [Theory]
    [InlineData(401, "shard_refused", 1)]
    [InlineData(403, "shard_refused", 1)]
    [InlineData(404, "files_missing", 1)]
    [InlineData(410, "files_missing", 1)]
    [InlineData(503, "shard_unreachable", 12)]
    [InlineData(200, "shard_without_ranges", 3)]
    [InlineData(204, "shard_without_ranges", 3)]
    public async Task What_waiting_does_not_change_is_told_at_once(int status, string code, int requests)
    {
        using var server = Serve(_ => new HubReply(status, new byte[1000]));
        Is(await Assert.ThrowsAsync<TrainingException>(() => folder.OpenAsync(faults, server.Address + "/a.tar")), code, server, "/a.tar");
        Assert.Equal(requests, server.Requests.Count);
    }

    [Fact]
    public async Task A_server_that_sends_slowly_for_ever_is_given_up()
    {
        var address = Add("a.tar", 1);
        folder.Options = folder.Options with { LeastRate = 1 << 20, Network = folder.Options.Network with { Attempts = 3, Stall = TimeSpan.FromSeconds(0.3) } };
        using var server = Serve(request => Good(request) with { Between = TimeSpan.FromSeconds(0.05) });
        Is(await Assert.ThrowsAsync<TrainingException>(() => folder.OpenAsync(faults, server.Address + address)), "shard_unreachable", server, address);
    }

    [Fact]
    public async Task No_secret_of_an_address_is_told_or_sent_to_another_host()
    {
        var address = Add("a.tar", 1);
        using var other = Serve(Good);
        using var server = Serve(request => HubReply.Text(307, "", ("Location", other.Address.Replace("127.0.0.1", "localhost", StringComparison.Ordinal) + address)));
        var source = server.Address.Replace("://", "://me:word@", StringComparison.Ordinal) + address + "?key=secret";

        var (items, _) = await AnnotationSource.ScanAsync(source, folder.Options, Ct);

        Assert.Equal(server.Address + address, Assert.Single(items).File);
        Assert.All(server.Requests, request => Assert.Equal("Basic " + Convert.ToBase64String("me:word"u8), request.Headers["authorization"]));
        Assert.All(server.Requests, request => Assert.EndsWith("?key=secret", request.Path, StringComparison.Ordinal));
        Assert.All(other.Requests, request => Assert.False(request.Headers.ContainsKey("authorization")));
        Assert.NotEmpty(other.Requests);
        var index = File.ReadAllText(Assert.Single(Directory.GetFiles(folder.Options.IndexFolder!)));
        tag = "\"2\"";
        var error = await Assert.ThrowsAsync<TrainingException>(() => AnnotationSource.ScanAsync(source, folder.Options, Ct));
        Assert.Equal("shard_changed", error.Code);
        Assert.All((string[])["word", "secret"], secret => Assert.DoesNotContain(secret, error + index, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("http://127.0.0.1:1/b.tar", "https://h/a.tar", null)]
    [InlineData("ftp://h/b.tar", "https://h/a.tar", null)]
    [InlineData("file:///etc/passwd", "http://h/a.tar", null)]
    [InlineData("/b.tar", "https://h/a.tar", "https://h/b.tar")]
    [InlineData("https://other/b.tar", "http://h/a.tar", "https://other/b.tar")]
    public void A_redirect_never_leaves_encryption_or_http(string location, string from, string? to)
    {
        using var response = new HttpResponseMessage(HttpStatusCode.Found) { Headers = { Location = new Uri(location, UriKind.RelativeOrAbsolute) } };
        Assert.Equal(to, HttpRedirect.Next(response, new Uri(from))?.AbsoluteUri);
    }

    [Theory]
    [InlineData("/a.tar")]
    [InlineData("file:///etc/passwd")]
    public async Task Redirects_in_a_circle_and_to_files_are_refused(string location)
    {
        using var server = Serve(_ => HubReply.Text(302, "", ("Location", location)));
        Is(await Assert.ThrowsAsync<TrainingException>(() => folder.OpenAsync(faults, server.Address + "/a.tar")), "shard_redirect", server, "/a.tar");
        Assert.InRange(server.Requests.Count, 1, 6);
    }

    [Fact]
    public async Task A_run_that_is_stopped_waits_for_no_server_and_leaves_nothing_behind()
    {
        var address = Add("a.tar", 1);
        folder.Options = folder.Options with { Network = new HubOptions { Stall = TimeSpan.FromHours(1) } };
        var isSilent = false;
        using var stalled = new SemaphoreSlim(0);
        using var server = Serve(request =>
        {
            if (!isSilent)
                return Good(request);
            stalled.Release();
            return Good(request) with { DropAfter = 10, Silent = true };
        });
        var source = await folder.OpenAsync(faults, server.Address + address);
        isSilent = true;
        using var stop = new CancellationTokenSource();

        var batch = Task.Run(() => source.Batch(0, stop.Token), Ct);
        await stalled.WaitAsync(Ct);
        await stop.CancelAsync();

        // An hour is the other possibility.
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => batch.WaitAsync(TimeSpan.FromMinutes(2), Ct));
        source.Dispose();
        Assert.Equal(0, folder.Spooled);
        // So does a scan.
        var scan = AnnotationSource.ScanAsync(server.Address + "/a.tar", folder.Options with { IndexFolder = null }, new CancellationTokenSource(TimeSpan.FromMilliseconds(50)).Token);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => scan.WaitAsync(TimeSpan.FromMinutes(2), Ct));
    }

    private static int HashCode(string path, params ReadOnlySpan<int> numbers)
    {
        // The same in every process.
        var hash = 17;
        foreach (var letter in path)
            hash = unchecked((hash * 31) + letter);
        foreach (var number in numbers)
            hash = unchecked((hash * 31) + number);
        return hash & int.MaxValue;
    }

    // Every other number is the truth. A client that believes a lie reads other bytes.
    private static HubReply Lie(int fault, HubRequest request, HubReply good, byte[] content) => fault switch
    {
        0 => good with { DropAfter = good.Body.Length / 2 },
        1 => good with { DropAfter = 0 },
        2 => good with { DropAfter = good.Body.Length / 3, Silent = request.From % 3 == 0 },
        3 => good with { Status = 200, Body = content },
        4 => Ranged(good with { Body = [.. good.Body.AsSpan(1), 7] }, request.From + 1, request.From + good.Body.Length),
        5 => Ranged(good, request.From, request.From + good.Body.Length - 2),
        6 => good with { Body = [.. good.Body, 0] },
        7 => HubReply.Text(503),
        8 => HubReply.Text(429, "", ("Retry-After", "0")),
        9 => HubReply.Text(307, "", ("Location", request.Path)),
        10 => HubReply.Text(416),
        11 => good with { Headers = [], Body = content },
        _ => good,
    };

    private static HubReply Ranged(HubReply good, long from, long to) =>
        good with { Headers = [.. good.Headers.Where(header => header.Name != "Content-Range"), ("Content-Range", string.Create(CultureInfo.InvariantCulture, $"bytes {from}-{to}/{good.Headers[0].Value.Split('/')[1]}"))] };

    private static HubServer Serve(Func<HubRequest, HubReply> answer) => new(answer);

    private static void Is(TrainingException error, string code, HubServer server, string path) => FaultAssert.Is(error, code, ("file", server.Address + path));

    private HubReply Good(HubRequest request)
    {
        var content = shards[request.Path.Split('?')[0]];
        var last = Math.Min(content.Length - 1, request.Last ?? int.MaxValue);
        return new HubReply(206, content[request.From..(last + 1)])
        {
            Headers = [("Content-Range", string.Create(CultureInfo.InvariantCulture, $"bytes {request.From}-{last}/{content.Length}")), ("ETag", tag)],
        };
    }

    private string Add(string name, int value)
    {
        shards["/" + name] = TarBuilder.Write(TarEntryFormat.Ustar, ("a.latent.safetensors", folder.Latent(value)), ("a.txt", [.. "x"u8]));
        return "/" + name;
    }
}
