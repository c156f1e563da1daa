using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Microsoft.Extensions.DependencyInjection;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Http;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;
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
        var refused = await Assert.ThrowsAsync<ServiceOptionException>(() => TestServer.StartAsync(options => options with { Host = "0.0.0.0" }, folder.Path));
        FaultAssert.Is(refused, "host_without_key", ("host", "0.0.0.0"));

        new ApiKeys(folder.Path).Add("alice");
        await using var server = await TestServer.StartAsync(options => options with { Host = "0.0.0.0", RunsWorker = false }, folder.Path);
    }

    [Fact]
    public async Task With_keys_everybody_needs_one_and_sees_only_their_own_videos()
    {
        var keys = new ApiKeys(folder.Path);
        var (alice, bob) = (keys.Add("alice"), keys.Add("bob"));
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
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
        FaultAssert.Is(Assert.Throws<ServiceOptionException>(() => new ApiKeys(folder.Path).Add("alice")), "key_name_taken", ("name", "alice"));
        FaultAssert.Is(Assert.Throws<ServiceOptionException>(() => new ApiKeys(folder.Path).Add("a b")), "key_name_invalid", ("name", "a b"));
        Assert.Equal(["alice"], new ApiKeys(folder.Path).Names);
    }

    [Fact]
    public async Task Damaged_keys_are_named_at_the_start_and_let_nobody_in_later()
    {
        var key = new ApiKeys(folder.Path).Add("alice");
        await using (var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path))
        {
            await File.WriteAllTextAsync(folder.File("keys.json"), "{ \"half", Cancel);
            foreach (var answer in (HttpResponseMessage[])[await AsAsync(server, key, "/v1/videos"), await server.Client.GetAsync("/v1/videos", Cancel)])
                Assert.DoesNotContain(folder.Path, (await TestServer.RefusedAsync(answer, HttpStatusCode.ServiceUnavailable, "keys_unreadable")).GetRawText(), StringComparison.Ordinal);
        }

        var refused = await Assert.ThrowsAsync<ServiceException>(() => TestServer.StartAsync(data: folder.Path));
        FaultAssert.Is(refused, "keys_damaged", ("file", folder.File("keys.json")));
    }

    [Fact]
    public async Task Keys_of_older_versions_keep_their_videos_and_another_key_of_the_name_sees_none_of_them()
    {
        var key = new ApiKeys(folder.Path).Add("alice");
        // As they stood there: a name for each hash, under which the videos are filed too.
        var kept = await File.ReadAllTextAsync(folder.File("keys.json"), Cancel);
        await File.WriteAllTextAsync(folder.File("keys.json"), Regex.Replace(kept, "alice#[0-9a-f]+", "alice"), Cancel);
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
        server.Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        var id = await server.SubmitAsync(TestServer.Quick);
        Assert.Equal("alice", (await server.Services.GetRequiredService<IJobStore>().FindAsync(id, Cancel))!.Owner.Name);
        Assert.Equal(["alice"], new ApiKeys(folder.Path).Names);

        Assert.True(new ApiKeys(folder.Path).Remove("alice"));
        var again = new ApiKeys(folder.Path).Add("alice");
        await TestServer.ProblemAsync(await AsAsync(server, key, $"/v1/videos/{id}"), HttpStatusCode.Unauthorized);
        await TestServer.ProblemAsync(await AsAsync(server, again, $"/v1/videos/{id}"), HttpStatusCode.NotFound);
        Assert.Equal(0, (await TestServer.JsonAsync(await AsAsync(server, again, "/v1/videos"), HttpStatusCode.OK)).GetProperty("data").GetArrayLength());
    }

    [Fact]
    public async Task A_removed_key_ends_what_is_open_and_what_a_page_would_still_do()
    {
        var keys = new ApiKeys(folder.Path);
        var key = keys.Add("alice");
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
        server.Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        var id = await server.SubmitAsync(TestServer.Quick);
        using var events = await server.Client.GetAsync($"/v1/videos/{id}/events", HttpCompletionOption.ResponseHeadersRead, Cancel);
        var (jobs, store) = (server.Services.GetRequiredService<IVideoJobs>(), server.Services.GetRequiredService<IJobStore>());
        var owner = (await store.FindAsync(id, Cancel))!.Owner;
        await jobs.GetAsync(owner, id, Cancel);
        Assert.True(keys.Remove("alice"));
        keys.Add("alice");

        // It ends, though the video waits for ever.
        await Assert.ThrowsAnyAsync<Exception>(() => events.Content.ReadAsStringAsync(Cancel));
        foreach (var call in new Func<Task>[]
        {
            () => jobs.SubmitAsync(owner, new VideoRequest { Prompt = "a red circle" }, cancellationToken: Cancel),
            () => jobs.DeleteAsync(owner, id, Cancel),
            () => jobs.CancelAsync(owner, id, Cancel),
            () => jobs.GetAsync(owner, id, Cancel),
            () => jobs.ListAsync(owner, new VideoQuery(1), Cancel),
            () => jobs.OpenAsync(owner, id, VideoVariant.Video, Cancel),
            () => jobs.WatchAllAsync(owner, Cancel).GetAsyncEnumerator(Cancel).MoveNextAsync().AsTask(),
        })
        {
            Assert.Equal("key_removed", (await Assert.ThrowsAsync<JobException>(call)).Code);
        }

        Assert.NotNull(await store.FindAsync(id, Cancel));
    }

    [Fact]
    public async Task Removing_the_last_key_does_not_open_a_running_service()
    {
        var keys = new ApiKeys(folder.Path);
        var key = keys.Add("alice");
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false, Host = "0.0.0.0" }, folder.Path);
        using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{server.Client.BaseAddress!.Port}") };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("/v1/videos", Cancel)).StatusCode);
        Assert.True(keys.Remove("alice"));
        await TestServer.ProblemAsync(await client.GetAsync("/v1/videos", Cancel), HttpStatusCode.Unauthorized);
        client.DefaultRequestHeaders.Authorization = null;
        await TestServer.ProblemAsync(await client.GetAsync("/v1/videos", Cancel), HttpStatusCode.Unauthorized);
    }

    [Fact]
    public async Task Videos_of_a_removed_key_that_are_not_made_yet_are_stopped_and_those_of_others_go_on()
    {
        var keys = new ApiKeys(folder.Path);
        var (alice, bob) = (keys.Add("alice"), keys.Add("bob"));
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
        var store = server.Services.GetRequiredService<IJobStore>();
        server.Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", alice);
        var ended = await server.SubmitAsync(TestServer.Quick);
        server.Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", bob);
        var other = await server.SubmitAsync(TestServer.Quick);
        await store.AddAsync(new NewJob(VideoId.New(), Owner.Local, new VideoRequest { Prompt = "a red circle", Model = "sprites", Width = 128, Height = 128 }), Cancel);

        keys.Remove("alice");
        await TestServer.UntilAsync(async () => (await store.FindAsync(ended, Cancel))!.Status == VideoStatus.Failed);
        Assert.Contains("key", (await store.FindAsync(ended, Cancel))!.Error!.Message, StringComparison.Ordinal);
        Assert.Equal(2, (await store.QueueAsync(Cancel)).Count);
        // A folder that is away for a moment takes nobody's videos.
        Assert.Equal("queued", (await server.GetAsync($"/v1/videos/{other}")).GetProperty("status").GetString());
        File.Move(folder.File("keys.json"), folder.File("away.json"));
        await TestServer.ProblemAsync(await AsAsync(server, bob, "/v1/videos"), HttpStatusCode.Unauthorized);
        Assert.Null(new ApiKeys(folder.Path).Owners);
    }

    [Fact]
    public async Task Who_signs_in_on_the_page_gets_a_cookie_that_works_until_the_key_is_removed()
    {
        var keys = new ApiKeys(folder.Path);
        var key = keys.Add("alice");
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
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
        keys.Add("alice");
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.GetAsync("/v1/videos", Cancel)).StatusCode);
    }

    [Fact]
    public async Task Names_and_origins_of_other_sites_are_turned_away()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false, AllowedHosts = ["videos.example"] }, folder.Path);
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

    [Theory]
    [InlineData("same-origin", "null", HttpStatusCode.OK)]
    [InlineData("none", null, HttpStatusCode.OK)]
    [InlineData("same-origin", "https://videos.example:8443", HttpStatusCode.OK)]   // a proxy that leaves the port out
    [InlineData("cross-site", "null", HttpStatusCode.Forbidden)]
    [InlineData("same-site", "http://localhost:3000", HttpStatusCode.Forbidden)]
    [InlineData("cross-site", null, HttpStatusCode.Forbidden)]
    [InlineData(null, null, HttpStatusCode.OK)]                                    // no browser
    [InlineData(null, "null", HttpStatusCode.Forbidden)]
    [InlineData(null, "http://localhost:8188", HttpStatusCode.OK)]
    [InlineData(null, "http://localhost:3000", HttpStatusCode.Forbidden)]
    [InlineData(null, "https://videos.example", HttpStatusCode.OK)]                // a proxy that calls by another name
    [InlineData(null, "https://videos.example.evil.example", HttpStatusCode.Forbidden)]
    public async Task What_changes_something_comes_from_this_site_by_the_browsers_word_or_by_its_origin(string? site, string? origin, HttpStatusCode status)
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false, AllowedHosts = ["videos.example"] }, folder.Path);
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/videos") { Headers = { Host = "localhost:8188" }, Content = JsonContent.Create(TestServer.Quick) };
        if (site is not null)
            request.Headers.Add("Sec-Fetch-Site", site);
        if (origin is not null)
            request.Headers.Add("Origin", origin);
        Assert.Equal(status, (await server.Client.SendAsync(request, Cancel)).StatusCode);
    }

    [Fact]
    public async Task Who_comes_with_a_browser_reads_a_refusal_as_a_page_and_a_program_as_JSON()
    {
        new ApiKeys(folder.Path).Add("alice");
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
        for (var i = 0; i < 10; i++)
            Assert.NotEqual(HttpStatusCode.TooManyRequests, (await SignInAsync("text/html")).StatusCode);
        var page = await SignInAsync("text/html,application/xhtml+xml,*/*;q=0.8");
        Assert.Equal((HttpStatusCode.TooManyRequests, "text/html"), (page.StatusCode, page.Content.Headers.ContentType?.MediaType));
        Assert.Contains("Too many requests in one minute", await page.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        await TestServer.ProblemAsync(await SignInAsync("*/*"), HttpStatusCode.TooManyRequests);
        using var elsewhere = new HttpRequestMessage(HttpMethod.Get, "/") { Headers = { Host = "evil.example", Accept = { new("text/html") } } };
        Assert.Equal("text/html", (await server.Client.SendAsync(elsewhere, Cancel)).Content.Headers.ContentType?.MediaType);

        Task<HttpResponseMessage> SignInAsync(string accept)
        {
            var request = new HttpRequestMessage(HttpMethod.Post, "/session") { Content = new FormUrlEncodedContent([new("key", "pf_wrong")]) };
            request.Headers.TryAddWithoutValidation("Accept", accept);
            return server.Client.SendAsync(request, Cancel);
        }
    }

    [Fact]
    public async Task Only_a_named_proxy_is_believed_what_it_says_of_visitors()
    {
        var key = new ApiKeys(folder.Path).Add("alice");
        await using var named = await TestServer.StartAsync(options => options with { RunsWorker = false, Proxies = ["10.0.0.0/8", "127.0.0.1"], AllowedHosts = ["videos.example"] }, folder.Path);
        await using var unnamed = await TestServer.StartAsync(options => options with { RunsWorker = false, Proxies = ["10.0.0.0/8"], AllowedHosts = ["videos.example"] }, folder.Path);
        await using var none = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);

        Assert.Contains("; secure", await SignInAsync(named, "videos.example"), StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("; secure", await SignInAsync(unnamed, "videos.example"), StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("; secure", await SignInAsync(none, "evil.example"), StringComparison.OrdinalIgnoreCase);
        // A visitor behind it is one of many: each has tries of their own.
        for (var i = 0; i < 12; i++)
            Assert.NotEmpty(await SignInAsync(named, "videos.example", $"203.0.113.{i}"));

        async Task<string> SignInAsync(TestServer server, string host, string visitor = "203.0.113.99")
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "/session") { Content = new FormUrlEncodedContent([new("key", key)]) };
            request.Headers.Add("X-Forwarded-Proto", "https");
            request.Headers.Add("X-Forwarded-Host", host);
            request.Headers.Add("X-Forwarded-For", visitor);
            using var browser = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false }) { BaseAddress = server.Client.BaseAddress };
            var answer = await browser.SendAsync(request, Cancel);
            Assert.Equal((HttpStatusCode.Redirect, "/"), (answer.StatusCode, answer.Headers.Location?.ToString()));
            return Assert.Single(answer.Headers.GetValues("Set-Cookie"));
        }
    }

    [Fact]
    public async Task A_proxy_lets_others_in_and_needs_a_key_to_start()
    {
        var refused = await Assert.ThrowsAsync<ServiceOptionException>(() => TestServer.StartAsync(options => options with { Proxies = ["127.0.0.1"] }, folder.Path));
        FaultAssert.Is(refused, "proxy_without_key");
        new ApiKeys(folder.Path).Add("alice");
        refused = await Assert.ThrowsAsync<ServiceOptionException>(() => TestServer.StartAsync(options => options with { Proxies = ["proxy"] }, folder.Path));
        FaultAssert.Is(refused, "proxy_invalid", ("proxy", "proxy"));
    }

    [Fact]
    public async Task A_cookie_works_behind_a_proxy_that_asks_for_a_password_of_its_own()
    {
        var key = new ApiKeys(folder.Path).Add("alice");
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
        using var browser = new HttpClient { BaseAddress = server.Client.BaseAddress };
        browser.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Basic", "dXNlcjpwYXNzd29yZA==");
        using var form = new FormUrlEncodedContent([new("key", key)]);
        await browser.PostAsync("/session", form, Cancel);
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/v1/videos", Cancel)).StatusCode);
    }

    [Fact]
    public async Task Two_servers_of_one_store_count_together_what_REST_and_the_page_ask_for()
    {
        static ServerOptions Two(ServerOptions options) => options with { RunsWorker = false, Limits = new ServerLimits { RequestsPerMinute = 3 } };
        await using var one = await TestServer.StartAsync(Two, folder.Path);
        await using var two = await TestServer.StartAsync(Two, folder.Path);
        var page = two.Services.GetRequiredService<IVideoJobs>();
        var first = await one.SubmitAsync(TestServer.Quick);
        await page.SubmitAsync(Owner.Local, new VideoRequest { Prompt = "a red circle" }, cancellationToken: Cancel);
        // What is refused later counts too, and what is deleted does not count less.
        FaultAssert.Is(await Assert.ThrowsAsync<JobException>(() => page.SubmitAsync(Owner.Local, new VideoRequest { Prompt = "" }, cancellationToken: Cancel)), "prompt_empty");
        await one.Client.DeleteAsync($"/v1/videos/{first}", Cancel);

        var refused = await Assert.ThrowsAsync<JobException>(() => page.SubmitAsync(Owner.Local, new VideoRequest { Prompt = "a red circle" }, cancellationToken: Cancel));
        FaultAssert.Is(refused, "too_many_requests", ("seconds", refused.RetryAfterSeconds));
        Assert.InRange(refused.RetryAfterSeconds!.Value, 1, 60);
        foreach (var path in new[] { "", $"/{first}/remix", "/extensions" })
        {
            using var content = JsonContent.Create(TestServer.Quick);
            var answer = await one.Client.PostAsync("/v1/videos" + path, content, Cancel);
            Assert.Equal("rate_limit", (await TestServer.ProblemAsync(answer, HttpStatusCode.TooManyRequests)).GetProperty("error").GetProperty("code").GetString());
            Assert.InRange(answer.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 60);
        }
    }

    [Fact]
    public async Task A_repeated_request_gives_its_video_however_many_were_asked_for()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false, Limits = new ServerLimits { RequestsPerMinute = 1 } }, folder.Path);
        server.Client.DefaultRequestHeaders.Add("Idempotency-Key", "once");
        Assert.Equal(await server.SubmitAsync(TestServer.Quick), await server.SubmitAsync(TestServer.Quick));
    }

    [Fact]
    public async Task A_new_idempotency_key_does_not_get_a_request_too_many_as_far_as_its_body()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false, Limits = new ServerLimits { RequestsPerMinute = 1 } }, folder.Path);
        await server.SubmitAsync(TestServer.Quick);
        server.Client.DefaultRequestHeaders.Add("Idempotency-Key", "another");
        using var content = new StringContent("no JSON", System.Text.Encoding.UTF8, "application/json");
        await TestServer.ProblemAsync(await server.Client.PostAsync("/v1/videos", content, Cancel), HttpStatusCode.TooManyRequests);
    }

    [Theory]
    [InlineData("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")]
    [InlineData("::ffff:192.0.2.7", "192.0.2.7")]
    [InlineData("192.0.2.7", "192.0.2.7")]
    public void What_is_counted_as_one_address_is_a_network_of_version_6(string address, string counted) =>
        Assert.Equal(IPAddress.Parse(counted), ConnectionLimits.NetworkOf(IPAddress.Parse(address)));

    [Fact]
    public async Task Nothing_is_loaded_from_elsewhere_and_too_many_requests_are_refused()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false, Limits = new ServerLimits { RequestsPerMinute = 2 } }, folder.Path);
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
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
        await server.SubmitAsync(TestServer.Quick);
        server.Services.GetRequiredService<Telemetry>().Ended("sprites", "completed", TimeSpan.FromSeconds(1));
        var document = await server.GetAsync("/openapi/v1.json");
        var paths = document.GetProperty("paths").EnumerateObject().Select(path => path.Name).ToList();
        var schemas = document.GetProperty("components").GetProperty("schemas");
        foreach (var schema in new[] { "CreateVideo", "ExtendVideo", "VideoObject" })
        {
            var properties = schemas.GetProperty(schema).GetProperty("properties");
            Assert.All(SettingsTable.All.Where(setting => setting.Field is not null), setting => Assert.True(properties.TryGetProperty(setting.Field!, out _), $"{schema} lacks {setting.Field}"));
        }

        // What generators of typed clients need; eng/typed-clients.sh makes some.
        var operations = document.GetProperty("paths").EnumerateObject().SelectMany(path => path.Value.EnumerateObject()).Select(operation => operation.Value).ToList();
        string[] names = [.. operations.Select(operation => operation.GetProperty("operationId").GetString()!)];
        Assert.Equal((names.Length, "3.0"), (names.Distinct().Count(), document.GetProperty("openapi").GetString()![..3]));
        Assert.All(operations, operation => Assert.True(operation.GetProperty("responses").GetProperty("200").GetProperty("content").EnumerateObject().First().Value.TryGetProperty("schema", out _)));
        Assert.Equal(["getImageFile"], operations.Where(operation => !operation.TryGetProperty("security", out _)).Select(operation => operation.GetProperty("operationId").GetString()));
        Assert.Equal("bearer", document.GetProperty("components").GetProperty("securitySchemes").GetProperty("key").GetProperty("scheme").GetString());
        Assert.Equal(["queued", "in_progress", "completed", "failed"], schemas.GetProperty("VideoObject").GetProperty("properties").GetProperty("status").GetProperty("enum").EnumerateArray().Select(word => word.GetString()));
        Assert.EndsWith("/ProblemObject", document.GetProperty("paths").GetProperty("/v1/videos").GetProperty("post").GetProperty("responses").GetProperty("400").GetProperty("content")
            .GetProperty("application/problem+json").GetProperty("schema").GetProperty("$ref").GetString(), StringComparison.Ordinal);
        Assert.Equal(["message", "type", "code", "param", "reason", "parameters"], schemas.GetProperty("ErrorObject").GetProperty("properties").EnumerateObject().Select(member => member.Name));
        Assert.All((string[])["/v1/videos", "/v1/videos/{id}", "/v1/videos/{id}/content", "/v1/videos/{id}/remix", "/v1/videos/{id}/events", "/v1/videos/{id}/stream", "/v1/models", "/v1/loras"], path => Assert.Contains(path, paths));
        var figures = await server.Client.GetStringAsync("/metrics", Cancel);
        Assert.Contains("pyramidflow_queue_waiting", figures, StringComparison.Ordinal);
        var families = figures.Split('\n').Where(line => line.StartsWith("# TYPE ", StringComparison.Ordinal)).Select(line => line.Split(' ')[2]).ToHashSet();
        foreach (var file in new[] { "grafana-dashboard.json", "prometheus-alerts.yaml" })
        {
            var asked = Regex.Matches(await File.ReadAllTextAsync(Deployment(file), Cancel), "\\b(?:pyramidflow|http_server|kestrel|dotnet)_[a-z_]+").Select(name => Regex.Replace(name.Value, "_(bucket|count)$", "")).ToHashSet();
            Assert.True(asked.Count > 2 && asked.IsSubsetOf(families), $"{file} asks for {string.Join(", ", asked.Except(families))}");
        }

        Assert.Equal([("sprites", 64), ("sprites:fast", 64)],
            (await server.GetAsync("/v1/models")).GetProperty("data").EnumerateArray().Select(model => (model.GetProperty("id").GetString(), model.GetProperty("size_multiple").GetInt32())));
    }

    private static string Deployment(string file, [CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "..", "..", "deploy", file);

    private static Task<HttpResponseMessage> AsAsync(TestServer server, string key, string path, HttpMethod? method = null, string body = "") => server.Client.SendAsync(new HttpRequestMessage(method ?? HttpMethod.Get, path)
    {
        Headers = { Authorization = new AuthenticationHeaderValue("Bearer", key) },
        Content = body.Length == 0 ? null : new StringContent(body, System.Text.Encoding.UTF8, "application/json"),
    }, Cancel);
}
