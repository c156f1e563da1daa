using System.Net;
using System.Net.Http.Headers;
using PyramidFlow.Server.Safety;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

public sealed class SafetyTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_service_that_others_can_reach_needs_a_key_to_start()
    {
        var refused = await Assert.ThrowsAsync<ArgumentException>(() => TestServer.StartAsync(options => options with { Host = "0.0.0.0" }, folder.Path));
        Assert.Contains("keys add", refused.Message, StringComparison.Ordinal);

        new ApiKeys(folder.Path).Add("alice");
        await using var server = await TestServer.StartAsync(options => options with { Host = "0.0.0.0", Works = false }, folder.Path);
    }

    [Fact]
    public async Task With_keys_everybody_needs_one_and_sees_only_their_own_videos()
    {
        var keys = new ApiKeys(folder.Path);
        var (alice, bob) = (keys.Add("alice"), keys.Add("bob"));
        await using var server = await TestServer.StartAsync(options => options with { Works = false }, folder.Path);
        await TestServer.ProblemAsync(await server.Client.GetAsync("/v1/videos", Cancel), HttpStatusCode.Unauthorized);
        await TestServer.ProblemAsync(await server.Client.GetAsync("/metrics", Cancel), HttpStatusCode.Unauthorized);
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/health/ready", Cancel)).StatusCode);
        await TestServer.ProblemAsync(await AsAsync(server, "pf_wrong", "/v1/videos"), HttpStatusCode.Unauthorized);

        server.Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", alice);
        var id = await server.SubmitAsync(TestServer.Quick);
        await server.GetAsync($"/v1/videos/{id}");
        server.Client.DefaultRequestHeaders.Authorization = null;
        foreach (var path in new[] { "", "/content", "/events", "/stream", "/content?variant=preview" })
            await TestServer.ProblemAsync(await AsAsync(server, bob, $"/v1/videos/{id}{path}"), HttpStatusCode.NotFound);
        foreach (var (method, path, body) in new[]
        {
            (HttpMethod.Delete, "/v1/videos/" + id, ""),
            (HttpMethod.Post, $"/v1/videos/{id}/cancel", "{}"),
            (HttpMethod.Post, $"/v1/videos/{id}/remix", "{\"prompt\": \"a star\"}"),
            (HttpMethod.Post, "/v1/videos/extensions", $"{{\"prompt\": \"a star\", \"video\": {{\"id\": \"{id}\"}}}}"),
            (HttpMethod.Post, "/v1/videos", $"{{\"prompt\": \"a star\", \"extend_video_id\": \"{id}\"}}"),
            (HttpMethod.Post, "/v1/videos", $"{{\"prompt\": \"a star\", \"last_frame_of_video_id\": \"{id}\"}}"),
            (HttpMethod.Get, "/v1/videos?after=" + id, ""),
        })
        {
            await TestServer.ProblemAsync(await AsAsync(server, bob, path, method, body), HttpStatusCode.NotFound);
        }

        Assert.Equal("queued", (await TestServer.JsonAsync(await AsAsync(server, alice, $"/v1/videos/{id}"), HttpStatusCode.OK)).GetProperty("status").GetString());
        Assert.Equal(0, (await TestServer.JsonAsync(await AsAsync(server, bob, "/v1/videos"), HttpStatusCode.OK)).GetProperty("data").GetArrayLength());

        Assert.True(keys.Remove("alice"));
        await TestServer.ProblemAsync(await AsAsync(server, alice, "/v1/videos"), HttpStatusCode.Unauthorized);
    }

    [Fact]
    public async Task Keys_are_kept_as_hashes_only()
    {
        var key = new ApiKeys(folder.Path).Add("alice");

        var kept = await File.ReadAllTextAsync(folder.File("keys.json"), Cancel);
        Assert.DoesNotContain(key, kept, StringComparison.Ordinal);
        Assert.Equal(("alice", null), (new ApiKeys(folder.Path).NameOf(key), new ApiKeys(folder.Path).NameOf(key + "x")));
        Assert.Throws<ArgumentException>(() => new ApiKeys(folder.Path).Add("alice"));
        Assert.Throws<ArgumentException>(() => new ApiKeys(folder.Path).Add("a b"));
    }

    [Fact]
    public async Task Who_signs_in_on_the_page_gets_a_cookie_that_works_until_the_key_is_removed()
    {
        var keys = new ApiKeys(folder.Path);
        var key = keys.Add("alice");
        await using var server = await TestServer.StartAsync(options => options with { Works = false }, folder.Path);
        using var page = new HttpRequestMessage(HttpMethod.Get, "/") { Headers = { Accept = { new("text/html") } } };
        using var browser = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false }) { BaseAddress = server.Client.BaseAddress };
        Assert.Equal("/signin", (await browser.SendAsync(page, Cancel)).Headers.Location?.ToString());
        Assert.Contains("API key", await browser.GetStringAsync("/signin", Cancel), StringComparison.Ordinal);

        using var wrong = new FormUrlEncodedContent([new("key", "pf_wrong")]);
        Assert.Equal("/signin?wrong", (await browser.PostAsync("/session", wrong, Cancel)).Headers.Location?.ToString());
        using var right = new FormUrlEncodedContent([new("key", key)]);
        var answer = await browser.PostAsync("/session", right, Cancel);
        Assert.Equal("/", answer.Headers.Location?.ToString());
        Assert.Contains("httponly", Assert.Single(answer.Headers.GetValues("Set-Cookie")), StringComparison.OrdinalIgnoreCase);

        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/v1/videos", Cancel)).StatusCode);
        keys.Remove("alice");
        keys.Add("bob");
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.GetAsync("/v1/videos", Cancel)).StatusCode);
    }

    [Fact]
    public async Task Names_and_origins_of_other_sites_are_turned_away()
    {
        await using var server = await TestServer.StartAsync(options => options with { Works = false, AllowedHosts = ["videos.example"] }, folder.Path);
        Assert.Equal(421, (int)(await SendAsync(HttpMethod.Get, "evil.example", null)).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Get, "videos.example", null)).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Get, "localhost:8188", null)).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Get, "localhost:8188", "http://evil.example")).StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await SendAsync(HttpMethod.Post, "localhost:8188", "http://evil.example")).StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await SendAsync(HttpMethod.Post, "localhost:8188", "null")).StatusCode);
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, (await SendAsync(HttpMethod.Post, "localhost:8188", "http://localhost:8188")).StatusCode);

        Task<HttpResponseMessage> SendAsync(HttpMethod method, string host, string? origin)
        {
            var request = new HttpRequestMessage(method, "/v1/videos") { Headers = { Host = host } };
            if (origin is not null)
                request.Headers.Add("Origin", origin);
            return server.Client.SendAsync(request, Cancel);
        }
    }

    [Fact]
    public async Task Nothing_is_loaded_from_elsewhere_and_too_many_requests_are_refused()
    {
        await using var server = await TestServer.StartAsync(options => options with { Works = false, Limits = new ServerLimits { RequestsPerMinute = 2 } }, folder.Path);
        var page = await server.Client.GetAsync("/", Cancel);
        Assert.Contains("default-src 'none'", Assert.Single(page.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
        await server.SubmitAsync(TestServer.Quick);
        await server.SubmitAsync(TestServer.Quick);
        using var content = new StringContent("{}", System.Text.Encoding.UTF8, "application/json");
        var refused = await server.Client.PostAsync("/v1/videos", content, Cancel);
        await TestServer.ProblemAsync(refused, HttpStatusCode.TooManyRequests);
        Assert.NotNull(refused.Headers.RetryAfter);
    }

    [Fact]
    public async Task The_document_names_every_address_and_the_figures_show_the_queue()
    {
        await using var server = await TestServer.StartAsync(options => options with { Works = false }, folder.Path);
        await server.SubmitAsync(TestServer.Quick);
        var paths = (await server.GetAsync("/openapi/v1.json")).GetProperty("paths").EnumerateObject().Select(path => path.Name).ToList();
        Assert.All((string[])["/v1/videos", "/v1/videos/{id}", "/v1/videos/{id}/content", "/v1/videos/{id}/remix", "/v1/videos/{id}/events", "/v1/videos/{id}/stream", "/v1/models"], path => Assert.Contains(path, paths));
        var figures = await server.Client.GetStringAsync("/metrics", Cancel);
        Assert.Contains("pyramidflow_queue_waiting", figures, StringComparison.Ordinal);
        var model = Assert.Single((await server.GetAsync("/v1/models")).GetProperty("data").EnumerateArray());
        Assert.Equal(("sprites", 64), (model.GetProperty("id").GetString(), model.GetProperty("size_multiple").GetInt32()));
    }

    private static Task<HttpResponseMessage> AsAsync(TestServer server, string key, string path, HttpMethod? method = null, string body = "") => server.Client.SendAsync(new HttpRequestMessage(method ?? HttpMethod.Get, path)
    {
        Headers = { Authorization = new AuthenticationHeaderValue("Bearer", key) },
        Content = body.Length == 0 ? null : new StringContent(body, System.Text.Encoding.UTF8, "application/json"),
    }, Cancel);
}
