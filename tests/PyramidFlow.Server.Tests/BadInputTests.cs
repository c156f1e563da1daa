using System.Net;
using System.Net.Http.Headers;
using System.Text;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Tests;

/// <summary>What a server without a worker says to requests that cannot be met.</summary>
public sealed class BadInputTests() : StartedServer(options => options with
    {
        RunsWorker = false,
        Limits = new ServerLimits { ImageBytes = 100_000, VideoBytes = 200_000, Pixels = 10_000, ActiveJobs = 3, PromptLength = 100 },
    })
{
    private HttpClient Client => Server.Client;

    [Theory]
    [InlineData("{\"prompt\": \"a circle\", ", 400, "not JSON")]
    [InlineData("[1, 2]", 400, "not a JSON object")]
    [InlineData("{}", 400, "the prompt is empty")]
    [InlineData("{\"prompt\": \"a circle\", \"seconds\": \"abc\"}", 400, "seconds cannot be abc")]
    [InlineData("{\"prompt\": \"a circle\", \"seconds\": \"-1\"}", 400, "seconds cannot be -1: use a positive number")]
    [InlineData("{\"prompt\": \"a circle\", \"seconds\": \"1e9\"}", 400, "longer than any video")]
    [InlineData("{\"prompt\": \"a circle\", \"size\": \"wide\"}", 400, "use width x height in pixels, such as 640x384")]
    [InlineData("{\"prompt\": \"a circle\", \"size\": \"100x128\"}", 400, "multiple")]
    [InlineData("{\"prompt\": \"a circle\", \"size\": \"999999x999999\"}", 400, "")]
    [InlineData("{\"prompt\": \"a circle\", \"num_frames\": 10}", 400, "use 9 or 17")]
    [InlineData("{\"prompt\": \"a circle\", \"num_frames\": 10000001}", 400, "at most")]
    [InlineData("{\"prompt\": \"a circle\", \"num_inference_steps\": 0}", 400, "num_inference_steps cannot be 0: use a whole number from 1")]
    [InlineData("{\"prompt\": \"a circle\", \"steps\": [1, 2]}", 400, "")]
    [InlineData("{\"prompt\": \"a circle\", \"guidance_scale\": -3}", 400, "use 0 (off) or a positive number")]
    [InlineData("{\"prompt\": \"a circle\", \"reuse_prefix\": 0}", 400, "reuse_prefix cannot be 0: use a whole number from 1 to 1000")]
    [InlineData("{\"prompt\": \"a circle\", \"extra_params\": {\"guidance_every\": -1}}", 400, "guidance_every cannot be -1: use a whole number from 1 to 1000")]
    [InlineData("{\"prompt\": \"a circle\", \"solver\": \"rk4\"}", 400, "solver cannot be rk4: use euler, ")]
    [InlineData("{\"prompt\": \"a circle\", \"seed\": \"many\"}", 400, "a whole number from 0")]
    [InlineData("{\"prompt\": \"a circle\", \"fps\": 0}", 400, "1 to 240")]
    [InlineData("{\"prompt\": \"a circle\", \"model\": \"sora-2\"}", 400, "there is no model 'sora-2': use sprites")]
    [InlineData("{\"prompt\": \"a circle\", \"extra_params\": \"{\"}", 400, "extra_params is not JSON")]
    [InlineData("{\"prompt\": \"a circle\", \"prompts\": [{\"at\": 2}]}", 400, "prompts")]
    [InlineData("{\"prompt\": \"a circle\", \"extend_video_id\": \"../../etc/passwd\"}", 404, "no video")]
    [InlineData("{\"prompt\": \"a circle\", \"input_reference\": \"http://localhost/x.png\"}", 400, "data URL")]
    [InlineData("{\"prompt\": \"a circle\", \"input_reference\": \"data:image/png;base64,####\"}", 400, "base64")]
    [InlineData("{\"prompt\": \"a circle\", \"input_reference\": \"data:image/png;base64,aGVsbG8gd29ybGQsIHRoaXMgaXMgdGV4dA==\"}", 415, "neither a picture")]
    public async Task Impossible_requests_are_refused_with_a_sentence(string body, int status, string words)
    {
        var problem = await TestServer.ProblemAsync(await Client.PostAsync("/v1/videos", new StringContent(body, Encoding.UTF8, "application/json"), Cancel), (HttpStatusCode)status);

        Assert.Contains(words, problem.GetProperty("detail").GetString()!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_prompt_that_is_too_long_and_a_body_of_another_type_are_refused()
    {
        var prompt = $"{{\"prompt\": \"{new string('a', 101)}\"}}";
        await TestServer.ProblemAsync(await Client.PostAsync("/v1/videos", new StringContent(prompt, Encoding.UTF8, "application/json"), Cancel), HttpStatusCode.BadRequest);
        await TestServer.ProblemAsync(await Client.PostAsync("/v1/videos", new StringContent("a circle", Encoding.UTF8, "text/plain"), Cancel), HttpStatusCode.UnsupportedMediaType);
        await TestServer.ProblemAsync(await Client.PostAsync("/v1/videos", null, Cancel), HttpStatusCode.UnsupportedMediaType);
    }

    [Fact]
    public async Task Malformed_forms_are_refused()
    {
        foreach (var (type, body) in new[]
        {
            ("multipart/form-data", "x"),
            ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na circle"),
            ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data\r\n\r\na circle\r\n--b--\r\n"),
            ("multipart/form-data; boundary=b", "nothing of the kind"),
        })
        {
            using var content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
            content.Headers.ContentType = MediaTypeHeaderValue.Parse(type);
            await TestServer.ProblemAsync(await Client.PostAsync("/v1/videos", content, Cancel), HttpStatusCode.BadRequest);
        }
    }

    [Fact]
    public async Task Uploads_are_refused_by_their_bytes_pixels_and_kind_and_nothing_of_them_stays()
    {
        await RefusedAsync(new byte[300_000], HttpStatusCode.UnsupportedMediaType);
        await RefusedAsync([0x89, (byte)'P', (byte)'N', (byte)'G', .. new byte[150_000]], HttpStatusCode.RequestEntityTooLarge);
        await RefusedAsync([0x89, (byte)'P', (byte)'N', (byte)'G', .. new byte[50]], HttpStatusCode.UnsupportedMediaType);
        await RefusedAsync([], HttpStatusCode.BadRequest);
        await RefusedAsync(Media.PngWriter.Encode(new Media.RgbImage(200, 100, new byte[200 * 100 * 3])), HttpStatusCode.RequestEntityTooLarge);
        await RefusedAsync([0, 0, 0, 24, .. "ftypisom"u8, .. new byte[1000]], HttpStatusCode.UnsupportedMediaType);

        Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(Server.Data, "incoming")));
        Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(Server.Data, "videos")));
    }

    [Fact]
    public async Task A_body_of_two_gigabytes_is_refused_before_it_is_sent()
    {
        using var client = await RawClient.OpenAsync(Server);
        await client.SendAsync("POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 2147483648\r\n\r\n");
        var answer = await client.AnswerAsync();

        Assert.StartsWith("HTTP/1.1 413 ", answer, StringComparison.Ordinal);
        Assert.Contains("application/problem+json", answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("GET", "/v1/videos/video_00000000000000000000000000000000", 404)]
    [InlineData("GET", "/v1/videos/..%2f..%2fjobs.db", 404)]
    [InlineData("GET", "/v1/videos/video_0000000000000000000000000000000%2f", 404)]
    [InlineData("DELETE", "/v1/videos/nothing", 404)]
    [InlineData("GET", "/v1/videos/nothing/content", 404)]
    [InlineData("GET", "/v1/videos/nothing/events", 404)]
    [InlineData("GET", "/v1/videos/nothing/stream", 404)]
    [InlineData("GET", "/v1/videos?after=nothing", 404)]
    [InlineData("GET", "/v1/videos?limit=0", 400)]
    [InlineData("GET", "/v1/videos?limit=many", 400)]
    [InlineData("GET", "/v1/videos?order=up", 400)]
    [InlineData("GET", "/v1/nothing", 404)]
    [InlineData("PUT", "/v1/videos", 405)]
    public async Task Addresses_of_nothing_are_answered_with_a_problem(string method, string path, int status)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        await TestServer.ProblemAsync(await Client.SendAsync(request, Cancel), (HttpStatusCode)status);
    }

    [Fact]
    public async Task What_is_not_made_yet_cannot_be_fetched()
    {
        var id = await Server.SubmitAsync(TestServer.Quick);
        await TestServer.ProblemAsync(await Client.GetAsync($"/v1/videos/{id}/content", Cancel), HttpStatusCode.Conflict);
        await TestServer.ProblemAsync(await Client.GetAsync($"/v1/videos/{id}/stream", Cancel), HttpStatusCode.Conflict);
        await TestServer.ProblemAsync(await Client.GetAsync($"/v1/videos/{id}/content?variant=poster", Cancel), HttpStatusCode.BadRequest);
    }

    [Fact]
    public async Task More_videos_than_allowed_at_a_time_are_refused()
    {
        for (var i = 0; i < 3; i++)
            await Server.SubmitAsync(TestServer.Quick);
        using var one = new StringContent("{\"prompt\": \"a circle\"}", Encoding.UTF8, "application/json");
        var refused = await Client.PostAsync("/v1/videos", one, Cancel);
        await TestServer.ProblemAsync(refused, HttpStatusCode.TooManyRequests);
        Assert.NotNull(refused.Headers.RetryAfter);
    }

    [Fact]
    public async Task An_idempotency_key_gives_the_same_video_and_refuses_another_request()
    {
        var first = await WithKeyAsync("{\"prompt\": \"a circle\"}");
        var again = await WithKeyAsync("{\"prompt\": \"a circle\"}");
        var other = await WithKeyAsync("{\"prompt\": \"a star\"}");

        Assert.Equal((await TestServer.JsonAsync(first, HttpStatusCode.OK)).GetProperty("id").GetString(), (await TestServer.JsonAsync(again, HttpStatusCode.OK)).GetProperty("id").GetString());
        await TestServer.ProblemAsync(other, HttpStatusCode.UnprocessableEntity);

        Task<HttpResponseMessage> WithKeyAsync(string body) => Client.SendAsync(new HttpRequestMessage(HttpMethod.Post, "/v1/videos")
        {
            Headers = { { "Idempotency-Key", "one" } },
            Content = new StringContent(body, Encoding.UTF8, "application/json"),
        }, Cancel);
    }

    private async Task RefusedAsync(byte[] upload, HttpStatusCode status)
    {
        using var form = new MultipartFormDataContent { { new StringContent("a circle"), "prompt" }, { new ByteArrayContent(upload), "input_reference", "a.png" } };
        var problem = await TestServer.ProblemAsync(await Client.PostAsync("/v1/videos", form, Cancel), status);
        Assert.DoesNotContain(Server.Data, problem.ToString(), StringComparison.Ordinal);
        Assert.Equal("input_reference", problem.GetProperty("error").GetProperty("param").GetString());
    }
}
