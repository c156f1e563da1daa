using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Logging;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>Ends of videos that are announced at addresses of requests.</summary>
public sealed class WebhookTests : IAsyncLifetime
{
    private static readonly byte[] Secret = new byte[32];
    private readonly TemporaryFolder folder = new();
    private readonly ConcurrentQueue<Received> received = [];
    private WebApplication? receiver;
    private int status = 500, held, mostHeld;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Host => new Uri(receiver!.Urls.First()).Authority;

    public async ValueTask InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        receiver = builder.Build();
        receiver.Urls.Add("http://127.0.0.1:0");
        receiver.Run(async context =>
        {
            if (context.Request.Host.Host == "localhost")
            {
                // Never answers.
                mostHeld = Math.Max(mostHeld, Interlocked.Increment(ref held));
                await Task.Delay(Timeout.Infinite, context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                Interlocked.Decrement(ref held);
                return;
            }

            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body, Cancel);
            received.Enqueue(new Received(context.Request.Path, context.Request.Headers["webhook-id"]!, context.Request.Headers["webhook-timestamp"]!, context.Request.Headers["webhook-signature"]!, body.ToArray()));
            (context.Response.StatusCode, context.Response.Headers.Location) = (status, "/elsewhere");
        });
        await receiver.StartAsync(Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        await receiver!.DisposeAsync();
        folder.Dispose();
    }

    [Fact]
    public async Task An_announcement_is_signed_and_tried_until_it_is_received_by_another_server_too()
    {
        string id, secret;
        await using (var first = await StartAsync())
        {
            id = await first.SubmitAsync(new { prompt = "a", webhook = $"http://{Host}/hook?token=1" });
            secret = (await first.GetAsync("/v1/webhooks/secret")).GetProperty("secret").GetString()!;
            await first.PostAsync(new { }, $"/v1/videos/{id}/cancel");
            await TestServer.UntilAsync(() => Task.FromResult(!received.IsEmpty));
        }

        var tried = received.Count;
        status = 204;
        await using var second = await StartAsync();
        Assert.Equal(secret, (await second.GetAsync("/v1/webhooks/secret")).GetProperty("secret").GetString());
        await TestServer.UntilAsync(() => Task.FromResult(received.Count > tried));

        // Another one comes after it, so nothing of the first is left.
        var other = await second.SubmitAsync(new { prompt = "a", webhook = $"http://{Host}/other" });
        await second.PostAsync(new { }, $"/v1/videos/{other}/cancel");
        await TestServer.UntilAsync(() => Task.FromResult(received.Last().Path == "/other"));
        Assert.Equal(tried + 2, received.Count);
        var ofFirst = received.Where(each => each.Path == "/hook").ToList();
        Assert.Single(ofFirst.Select(each => (each.Id, Encoding.UTF8.GetString(each.Body))).Distinct());
        Assert.All(ofFirst, each =>
        {
            var signed = HMACSHA256.HashData(Convert.FromBase64String(secret["whsec_".Length..]), (byte[])[.. Encoding.UTF8.GetBytes($"{each.Id}.{each.Timestamp}."), .. each.Body]);
            Assert.Equal($"v1,{Convert.ToBase64String(signed)}", each.Signature);
        });
        using var body = JsonDocument.Parse(ofFirst[0].Body);
        Assert.Equal(("event", "video.failed", id, ofFirst[0].Id), (Text("object"), Text("type"), body.RootElement.GetProperty("data").GetProperty("id").GetString(), Text("id")));

        string? Text(string name) => body.RootElement.GetProperty(name).GetString();
    }

    [Fact]
    public async Task A_receiver_that_never_answers_delays_its_own_announcements_only()
    {
        status = 204;
        await using var server = await StartAsync();
        foreach (var url in Enumerable.Range(0, 6).Select(i => $"http://localhost:{new Uri(receiver!.Urls.First()).Port}/{i}").Append($"http://{Host}/sound"))
            await server.PostAsync(new { }, $"/v1/videos/{await server.SubmitAsync(new { prompt = "a", webhook = url })}/cancel");
        await TestServer.UntilAsync(() => Task.FromResult(!received.IsEmpty && mostHeld > 0));
        Assert.Equal("/sound", Assert.Single(received).Path);
        Assert.InRange(mostHeld, 1, WebhookSender.MostOfReceiver);
    }

    [Fact]
    public async Task A_redirect_is_not_followed_and_a_name_that_leads_to_this_machine_is_not_connected_to()
    {
        status = 302;
        using (var client = new WebhookClient(new WebhookRules([Host], AllowsPrivate: true)))
            Assert.Equal((false, false, "status 302"), await client.PostAsync(Event($"http://{Host}/hook"), Secret, Cancel));
        Assert.Equal("/hook", Assert.Single(received).Path);

        status = 410;
        using (var client = new WebhookClient(new WebhookRules([Host], AllowsPrivate: true)))
            Assert.True((await client.PostAsync(Event($"http://{Host}/hook"), Secret, Cancel)).IsGone);

        status = 200;
        using (var closed = new WebhookClient(new WebhookRules(["*"], AllowsPrivate: false)))
        {
            foreach (var name in new[] { "127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433" })
                Assert.Contains("no public address", (await closed.PostAsync(Event($"http://{name}:{new Uri(receiver!.Urls.First()).Port}/closed"), Secret, Cancel)).Answer, StringComparison.Ordinal);
        }

        Assert.Equal(2, received.Count);

        static WebhookEvent Event(string url) => new("evt_1", "video_1", Owner.Local, url, "video.completed", DateTimeOffset.UnixEpoch, 1);
    }

    [Theory]
    [InlineData("8.8.8.8", true)]
    [InlineData("2606:4700::1111", true)]
    [InlineData("0.0.0.0", false)]
    [InlineData("10.1.2.3", false)]
    [InlineData("100.64.0.1", false)]
    [InlineData("127.9.9.9", false)]
    [InlineData("169.254.169.254", false)]
    [InlineData("172.31.255.255", false)]
    [InlineData("172.32.0.1", true)]
    [InlineData("192.168.1.1", false)]
    [InlineData("224.0.0.1", false)]
    [InlineData("255.255.255.255", false)]
    [InlineData("::", false)]
    [InlineData("::1", false)]
    [InlineData("::ffff:10.0.0.1", false)]
    [InlineData("::10.0.0.1", false)]
    [InlineData("64:ff9b::a00:1", false)]
    [InlineData("2002:a00:1::", false)]
    [InlineData("2001::1", false)]
    [InlineData("fd00::1", false)]
    [InlineData("fe80::1", false)]
    [InlineData("fec0::1", false)]
    [InlineData("ff02::1", false)]
    public void Only_addresses_of_the_public_internet_are_public(string address, bool isPublic) => Assert.Equal(isPublic, WebhookRules.IsPublic(IPAddress.Parse(address)));

    [Theory]
    [InlineData("https://hooks.example/a?b=c", null)]
    [InlineData("https://HOOKS.example/", null)]
    [InlineData("https://a.b.wild.example/", null)]
    [InlineData("https://ports.example:8443/", null)]
    [InlineData("https://hooks.example:8443/", "webhook_host_not_listed")]
    [InlineData("https://ports.example/", "webhook_host_not_listed")]
    [InlineData("https://wild.example/", "webhook_host_not_listed")]
    [InlineData("https://evilwild.example/", "webhook_host_not_listed")]
    [InlineData("https://hooks.example.evil/", "webhook_host_not_listed")]
    [InlineData("https://user@hooks.example/", "webhook_invalid")]
    [InlineData("https://hooks.example/#part", "webhook_invalid")]
    [InlineData("http://hooks.example/", "webhook_invalid")]
    [InlineData("ftp://hooks.example/", "webhook_invalid")]
    [InlineData("/relative", "webhook_invalid")]
    [InlineData("", "webhook_invalid")]
    public void Only_addresses_on_listed_hosts_are_taken(string url, string? code)
    {
        var rules = new WebhookRules(["hooks.example", "ports.example:8443", "*.wild.example"], AllowsPrivate: false);
        rules.CheckHosts();
        Assert.Equal(code, (Record.Exception(() => rules.Check(url)) as JobException)?.Code);
        Assert.Equal(code is null, rules.Allows(url));
    }

    [Theory]
    [InlineData(300, true)]
    [InlineData(700, false)]
    public void An_address_is_as_long_as_the_form_that_is_kept(int letters, bool isTaken)
    {
        var (rules, url) = (new WebhookRules(["hooks.example"], AllowsPrivate: false), "https://hooks.example/" + new string('é', letters));
        Assert.Equal(isTaken ? null : "webhook_invalid", (Record.Exception(() => rules.Check(url)) as JobException)?.Code);
        Assert.True(rules.Allows(WebhookRules.Normal(url)));
    }

    [Theory]
    [InlineData("https://hooks.example")]
    [InlineData("a.*.example")]
    [InlineData("hooks.example:port")]
    [InlineData("")]
    public void What_is_no_host_is_refused_at_the_start(string host) =>
        Assert.Equal("webhook_host_invalid", Assert.Throws<ServiceOptionException>(new WebhookRules([host], AllowsPrivate: false).CheckHosts).Code);

    [Fact]
    public async Task Without_a_listed_host_there_are_no_webhooks()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
        using var content = new StringContent("""{"prompt":"a","webhook":"https://hooks.example/"}""", Encoding.UTF8, "application/json");
        await TestServer.RefusedAsync(await server.Client.PostAsync("/v1/videos", content, Cancel), HttpStatusCode.BadRequest, "webhooks_off");
        await TestServer.RefusedAsync(await server.Client.GetAsync("/v1/webhooks/secret", Cancel), HttpStatusCode.NotFound, "webhooks_off");
    }

    private Task<TestServer> StartAsync() => TestServer.StartAsync(
        options => options with { RunsWorker = false, WebhookHosts = [Host, $"localhost:{new Uri(Host.Insert(0, "http://")).Port}"], AllowsPrivateWebhooks = true, WebhookPauses = [TimeSpan.FromSeconds(3), TimeSpan.FromSeconds(3), TimeSpan.FromSeconds(3)] }, folder.Path);

    private sealed record Received(string Path, string Id, string Timestamp, string Signature, byte[] Body);
}
