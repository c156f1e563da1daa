using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Http;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

public sealed class AccessLogTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_request_is_logged_with_address_key_name_and_status_and_never_with_the_key_or_the_query()
    {
        using var folder = new TemporaryFolder();
        var key = new ApiKeys(folder.Path).Add("alice");
        using var log = new Lines();
        var traced = new ConcurrentQueue<string>();
        using var traces = new ActivityListener { ShouldListenTo = source => source.Name == "Microsoft.AspNetCore", ActivityStopped = each => traced.Enqueue($"{each.GetTagItem("url.path")}") };
        ActivitySource.AddActivityListener(traces);
        await using var app = VideoServer.Build(new ServerOptions
        {
            DataFolder = folder.Path, Models = () => [new ModelFolder("sprites", Sprites.Folder)], Port = 0, RunsWorker = false, LogsRequests = true, Proxies = ["127.0.0.1"],
        }, logging => logging.AddProvider(log));
        await app.StartAsync(Cancel);
        using var client = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        client.DefaultRequestHeaders.Add("X-Forwarded-For", "203.0.113.9");
        Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync("pf_wrong", "/v1/videos?limit=7"));
        Assert.Equal(HttpStatusCode.OK, await StatusAsync(key, "/v1/videos?limit=7"));
        Assert.Equal(HttpStatusCode.NotFound, await StatusAsync(key, "/v1/none%0A203.0.113.7%20bob%20GET"));
        var token = app.Services.GetRequiredService<LinkTokens>().Create(LinkPurpose.Share, new VideoJob { Id = VideoId.New(), Owner = Owner.Local, Request = new VideoRequest() }, TimeSpan.FromHours(1));
        foreach (var path in new[] { $"/shared/{token}/video", $"{ImageEndpoints.Files}/{token}" })
        {
            using var answer = await client.GetAsync(path, Cancel);
            Assert.Equal(HttpStatusCode.NotFound, answer.StatusCode);
            Assert.DoesNotContain(token, await answer.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        }

        await TestServer.UntilAsync(() => Task.FromResult(log.All.Count == 5));
        await app.StopAsync(CancellationToken.None);

        Assert.Equal(["203.0.113.9 - GET /v1/videos 401", "203.0.113.9 alice GET /v1/videos 200", "203.0.113.9 alice GET /v1/none%0A203.0.113.7%20bob%20GET 404",
            "203.0.113.9 - GET /shared/(token)/video 404", "203.0.113.9 - GET /v1/images/files/(token) 404"],
            log.All.Select(line => line[..line.LastIndexOf(' ', line.Length - " ms".Length - 1)]));
        Assert.Contains("/shared/(token)/video", traced);
        Assert.DoesNotContain(traced, path => path.Contains(token, StringComparison.Ordinal));

        async Task<HttpStatusCode> StatusAsync(string given, string path)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, path) { Headers = { Authorization = new AuthenticationHeaderValue("Bearer", given) } };
            using var answer = await client.SendAsync(request, Cancel);
            return answer.StatusCode;
        }
    }

    [Theory]
    [InlineData(false, false, "500")]
    [InlineData(true, false, "499")]
    [InlineData(false, true, "200")]
    public async Task A_request_that_ends_in_an_exception_is_logged_as_a_fault_or_as_left_and_a_long_method_is_shortened(bool isGone, bool isAnswered, string status)
    {
        using var log = new Lines();
        using var logs = LoggerFactory.Create(logging => logging.AddProvider(log));
        var access = new AccessLog(_ => isAnswered ? Task.CompletedTask : throw new InvalidOperationException("a fault"), logs.CreateLogger<AccessLog>());
        var context = new DefaultHttpContext { Request = { Method = new string('M', 300), Path = "/v1/videos" }, RequestAborted = new CancellationToken(isGone) };
        var error = await Record.ExceptionAsync(() => access.InvokeAsync(context));
        Assert.Equal(isAnswered, error is null);
        Assert.StartsWith($"- - {new string('M', 20)}... /v1/videos {status} ", Assert.Single(log.All), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Only_what_is_the_same_for_everybody_is_compressed()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false });
        foreach (var (path, isCompressed) in new[]
        {
            ("/page.css", true), ("/page.js", true), ("/_framework/blazor.web.js", true), ("/openapi/v1.json", true), ("/", false), ("/v1/videos", false), ("/v1/models", false), ("/metrics", false),
        })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, path) { Headers = { AcceptEncoding = { new("br") } } };
            using var answer = await server.Client.SendAsync(request, Cancel);
            Assert.Equal((path, HttpStatusCode.OK, isCompressed ? "br" : ""), (path, answer.StatusCode, string.Join(',', answer.Content.Headers.ContentEncoding)));
        }
    }

    private sealed class Lines : ILoggerProvider, ILogger
    {
        public ConcurrentQueue<string> All { get; } = [];

        public ILogger CreateLogger(string categoryName) => categoryName == typeof(AccessLog).FullName ? this : Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => All.Enqueue(formatter(state, exception));

        public void Dispose()
        {
        }
    }
}
