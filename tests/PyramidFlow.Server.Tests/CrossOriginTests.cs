using System.Net;
using System.Net.Http.Headers;
using System.Text;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Http;
using PyramidFlow.Server.Storage;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>Pages of other sites that may use REST.</summary>
public sealed class CrossOriginTests : IDisposable
{
    private const string App = "https://app.example", Allowed = "Access-Control-Allow-Origin";
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Pages_of_other_sites_are_refused_unless_they_are_listed()
    {
        var key = new ApiKeys(folder.Path).Add("alice");
        await using (var closed = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path))
        {
            Assert.Equal((HttpStatusCode.Forbidden, "", ""), await SendAsync(closed, HttpMethod.Post, App, key));
            Assert.Equal("", (await PreflightAsync(closed, App)).Origin);
        }

        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false, CrossOrigins = [App, "http://localhost:5173"] }, folder.Path);
        var (origin, methods, headers, credentials) = await PreflightAsync(server, App);
        Assert.Equal((App, "GET,HEAD,POST,DELETE", "authorization,x-stainless-os", ""), (origin, methods, headers, credentials));
        var (status, named, exposed) = await SendAsync(server, HttpMethod.Post, App, key);
        Assert.Equal((HttpStatusCode.OK, App), (status, named));
        Assert.Contains(RequestIds.Header, exposed, StringComparison.Ordinal);
        Assert.Contains(AskedRequest.Header, exposed, StringComparison.Ordinal);

        // A script can read why it is refused.
        Assert.Equal((HttpStatusCode.Unauthorized, App), Two(await SendAsync(server, HttpMethod.Post, App, null)));
        Assert.Equal((HttpStatusCode.NotFound, App), Two(await SendAsync(server, HttpMethod.Delete, App, key, "/v1/videos/none")));

        Assert.Equal((HttpStatusCode.Forbidden, ""), Two(await SendAsync(server, HttpMethod.Post, "https://app.example.evil", key)));
        Assert.Equal("", (await PreflightAsync(server, "https://evil.example")).Origin);
        Assert.Equal((HttpStatusCode.Forbidden, ""), Two(await SendAsync(server, HttpMethod.Post, App, key, "/session")));
    }

    [Fact]
    public async Task A_listed_page_cannot_use_the_cookie_of_a_visitor()
    {
        var key = new ApiKeys(folder.Path).Add("alice");
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false, CrossOrigins = ["*"] }, folder.Path);
        using var handler = new SocketsHttpHandler { AllowAutoRedirect = false };
        using var browser = new HttpClient(handler) { BaseAddress = server.Client.BaseAddress };
        using var form = new FormUrlEncodedContent([new("key", key)]);
        using var signedIn = await browser.PostAsync("/session", form, Cancel);
        Assert.Equal(HttpStatusCode.Redirect, signedIn.StatusCode);

        Assert.Equal(HttpStatusCode.OK, await VideosAsync(null));
        Assert.Equal(HttpStatusCode.Unauthorized, await VideosAsync(App));
        Assert.Equal(HttpStatusCode.OK, await VideosAsync(server.Client.BaseAddress!.GetLeftPart(UriPartial.Authority)));

        async Task<HttpStatusCode> VideosAsync(string? origin)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/videos");
            if (origin is not null)
                request.Headers.Add("Origin", origin);
            return (await browser.SendAsync(request, Cancel)).StatusCode;
        }
    }

    [Theory]
    [InlineData("*", "origins_without_key")]
    [InlineData("app.example", "origin_invalid")]
    [InlineData("https://app.example/", "origin_invalid")]
    [InlineData("https://app.example/path", "origin_invalid")]
    [InlineData("file:///page", "origin_invalid")]
    [InlineData("https://*.example", "origin_invalid")]
    public void An_impossible_origin_and_all_origins_without_a_key_are_refused(string origin, string code) =>
        Assert.Equal(code, Assert.Throws<ServiceOptionException>(() => new CrossOrigin([origin]).Check(new ApiKeys(folder.Path))).Code);

    private static (HttpStatusCode Status, string Origin) Two((HttpStatusCode Status, string Origin, string Exposed) answer) => (answer.Status, answer.Origin);

    private static async Task<(HttpStatusCode Status, string Origin, string Exposed)> SendAsync(TestServer server, HttpMethod method, string origin, string? key, string path = "/v1/videos")
    {
        using var request = new HttpRequestMessage(method, path) { Headers = { { "Origin", origin }, { "Sec-Fetch-Site", "cross-site" } } };
        if (method == HttpMethod.Post)
            request.Content = new StringContent("""{"prompt":"a"}""", Encoding.UTF8, "application/json");
        if (key is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        using var answer = await server.Client.SendAsync(request, Cancel);
        return (answer.StatusCode, Header(answer, Allowed), Header(answer, "Access-Control-Expose-Headers"));
    }

    private static async Task<(string Origin, string Methods, string Headers, string Credentials)> PreflightAsync(TestServer server, string origin)
    {
        using var request = new HttpRequestMessage(HttpMethod.Options, "/v1/videos")
        {
            Headers = { { "Origin", origin }, { "Access-Control-Request-Method", "POST" }, { "Access-Control-Request-Headers", "authorization,x-stainless-os" } },
        };
        using var answer = await server.Client.SendAsync(request, Cancel);
        return (Header(answer, Allowed), Header(answer, "Access-Control-Allow-Methods"), Header(answer, "Access-Control-Allow-Headers"), Header(answer, "Access-Control-Allow-Credentials"));
    }

    private static string Header(HttpResponseMessage answer, string name) => answer.Headers.TryGetValues(name, out var values) ? string.Join(',', values) : "";
}
