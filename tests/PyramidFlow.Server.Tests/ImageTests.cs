using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using Microsoft.Extensions.DependencyInjection;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Http;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>Stills by OpenAI's images API.</summary>
public sealed class ImageTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_link_needs_no_key_shows_its_picture_only_and_ends_with_the_key()
    {
        var keys = new ApiKeys(folder.Path);
        var (key, other) = (keys.Add("alice"), keys.Add("bob"));
        await using var server = await TestServer.StartAsync(data: folder.Path);
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/images/generations")
        {
            Headers = { Authorization = new AuthenticationHeaderValue("Bearer", key) },
            Content = JsonContent.Create(new { prompt = "a red circle", model = "dall-e-3", size = "auto", seed = 3, num_inference_steps = 1 }),
        };
        using var answer = await server.Client.SendAsync(request, Cancel);
        var made = await TestServer.JsonAsync(answer, HttpStatusCode.OK);
        Assert.Contains("dall-e-3", Assert.Single(answer.Headers.GetValues(AskedRequest.Header)), StringComparison.Ordinal);
        var link = made.GetProperty("data")[0].GetProperty("url").GetString()!;
        Assert.Equal(("128x128", "png"), (made.GetProperty("size").GetString(), made.GetProperty("output_format").GetString()));

        using (var picture = await server.Client.GetAsync(link, Cancel))
        {
            Assert.Equal((HttpStatusCode.OK, "image/png", "cross-origin"),
                (picture.StatusCode, picture.Content.Headers.ContentType?.MediaType, picture.Headers.GetValues("Cross-Origin-Resource-Policy").Single()));
            Assert.Equal("PNG", System.Text.Encoding.ASCII.GetString(await picture.Content.ReadAsByteArrayAsync(Cancel), 1, 3));
        }

        await TestServer.RefusedAsync(await server.Client.GetAsync(link[..^3] + "AAA", Cancel), HttpStatusCode.NotFound, "link_ended");
        var (tokens, job) = (server.Services.GetRequiredService<LinkTokens>(), await server.Services.GetRequiredService<IJobStore>().FindAsync(made.GetProperty("data")[0].GetProperty("id").GetString()!, Cancel));
        foreach (var token in new[] { tokens.Create(LinkPurpose.Image, job!, TimeSpan.FromSeconds(-1)), tokens.Create(LinkPurpose.Share, job!, TimeSpan.FromHours(1)) })
            await TestServer.RefusedAsync(await server.Client.GetAsync($"{ImageEndpoints.Files}/{token}", Cancel), HttpStatusCode.NotFound, "link_ended");
        keys.Remove("alice");
        await TestServer.UntilAsync(async () => (await server.Client.GetAsync(link, Cancel)).StatusCode == HttpStatusCode.NotFound);
    }

    [Fact]
    public async Task What_a_picture_cannot_be_is_refused()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
        foreach (var (body, field, reason) in new[]
        {
            ("""{"prompt":"a","output_format":"webp"}""", "output_format", "value_invalid"),
            ("""{"prompt":"a","background":"transparent"}""", "background", "value_invalid"),
            ("""{"prompt":"a","response_format":"file"}""", "response_format", "value_invalid"),
            ("""{"prompt":"a","stream":true}""", "stream", "value_invalid"),
            ("""{"prompt":"a","stream":1}""", "stream", "value_invalid"),
            ("""{"prompt":"a","n":11}""", "n", "count_beyond_limit"),
            ("""{"prompt":"a","seconds":"4"}""", "seconds", "field_unknown"),
        })
        {
            using var content = new StringContent(body, System.Text.Encoding.UTF8, "application/json");
            var problem = await TestServer.RefusedAsync(await server.Client.PostAsync("/v1/images/generations", content, Cancel), HttpStatusCode.BadRequest, reason);
            Assert.Equal((body, field), (body, problem.GetProperty("error").GetProperty("param").GetString()));
        }
    }

    [Fact]
    public async Task Who_goes_away_leaves_nothing_in_the_queue_and_a_failed_picture_is_a_refusal()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
        using (var left = new CancellationTokenSource())
        {
            var asked = server.Client.PostAsJsonAsync("/v1/images/generations", new { prompt = "a", n = 2 }, left.Token);
            await TestServer.UntilAsync(async () => (await server.GetAsync("/v1/videos")).GetProperty("data").GetArrayLength() == 2);
            await left.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asked);
        }

        await TestServer.UntilAsync(async () => (await server.GetAsync("/v1/videos")).GetProperty("data").EnumerateArray().All(video => video.GetProperty("status").GetString() == "failed"));

        var (failing, store) = (server.Client.PostAsJsonAsync("/v1/images/generations", new { prompt = "b" }, Cancel), server.Services.GetRequiredService<IJobStore>());
        JobLease? lease = null;
        await TestServer.UntilAsync(async () => (lease = await store.LeaseAsync("worker", ["sprites"], TimeSpan.FromMinutes(1), Cancel)) is not null);
        await store.FailAsync(lease!, new VideoError(VideoError.Invalid, "no") { Reason = "some_cause" }, retry: false, Cancel);
        server.Services.GetRequiredService<JobSignals>().Changed();
        await TestServer.RefusedAsync(await failing, HttpStatusCode.BadRequest, "some_cause", "error=no");
    }
}
