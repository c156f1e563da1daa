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
    [InlineData("""{"prompt": "a circle", """, 400, "body_malformed")]
    [InlineData("[1, 2]", 400, "not_an_object", "what=the body")]
    [InlineData("{}", 400, "prompt_empty")]
    [InlineData("""{"prompt": "a circle", "seconds": "abc"}""", 400, "value_invalid", "field=seconds|value=abc")]
    [InlineData("""{"prompt": "a circle", "seconds": "-1"}""", 400, "value_invalid", "field=seconds|value=-1")]
    [InlineData("""{"prompt": "a circle", "seconds": "1e9"}""", 400, "too_many_seconds", "seconds=1000000000")]
    [InlineData("""{"prompt": "a circle", "size": "wide"}""", 400, "value_invalid", "value=wide|advice~640x384")]
    [InlineData("""{"prompt": "a circle", "size": "100x128"}""", 400, "size_not_multiple", "side=width|value=100|multiple=64|above=128")]
    [InlineData("""{"prompt": "a circle", "size": "999999x999999"}""", 400, "size_not_multiple")]
    [InlineData("""{"prompt": "a circle", "num_frames": 10}""", 400, "frames_not_whole", "frames=10|below=9|above=17")]
    [InlineData("""{"prompt": "a circle", "num_frames": 10000001}""", 400, "too_many_frames", "frames=10000001")]
    [InlineData("""{"prompt": "a circle", "num_frames": 1449}""", 400, "frames_beyond_limit", "frames=1449|most=1441")]
    [InlineData("""{"prompt": "a circle", "num_inference_steps": 0}""", 400, "value_invalid", "field=num_inference_steps|value=0")]
    [InlineData("""{"prompt": "a circle", "steps": [1, 2]}""", 400, "steps_per_stage", "numbers=2|stages=3")]
    [InlineData("""{"prompt": "a circle", "guidance_scale": -3}""", 400, "value_invalid", "field=guidance_scale|value=-3")]
    [InlineData("""{"prompt": "a circle", "reuse_prefix": 0}""", 400, "value_invalid", "field=reuse_prefix|value=0|advice~1 to 1000")]
    [InlineData("""{"prompt": "a circle", "extra_params": {"guidance_every": -1}}""", 400, "value_invalid", "field=guidance_every|value=-1|advice~1 to 1000")]
    [InlineData("""{"prompt": "a circle", "solver": "rk4"}""", 400, "value_invalid", "field=solver|value=rk4|advice~euler, ")]
    [InlineData("""{"prompt": "a circle", "seed": "many"}""", 400, "value_invalid", "field=seed|value=many")]
    [InlineData("""{"prompt": "a circle", "fps": 0}""", 400, "value_invalid", "field=fps|value=0|advice~1 to 240")]
    [InlineData("""{"prompt": "a circle", "model": "veo-2"}""", 400, "model_unknown", "model=veo-2|known=sprites, sprites:fast")]
    [InlineData("""{"prompt": "a circle", "extra_params": "{"}""", 400, "field_not_json", "field=extra_params")]
    [InlineData("""{"prompt": "a circle", "prompts": [{"at": 2}]}""", 400, "value_invalid", "field=prompts")]
    [InlineData("""{"prompt": "a circle", "extend_video_id": "../../etc/passwd"}""", 404, "video_unknown")]
    [InlineData("""{"prompt": "a circle", "input_reference": "http://localhost/x.png"}""", 400, "not_a_data_url")]
    [InlineData("""{"prompt": "a circle", "input_reference": "data:image/png;base64,####"}""", 400, "not_base64")]
    [InlineData("""{"prompt": "a circle", "input_reference": "data:image/png;base64,aGVsbG8gd29ybGQsIHRoaXMgaXMgdGV4dA=="}""", 415, "upload_of_other_kind")]
    public async Task Impossible_requests_are_refused_with_their_cause(string body, int status, string reason, string parameters = "") =>
        await TestServer.RefusedAsync(await Client.PostAsync("/v1/videos", new StringContent(body, Encoding.UTF8, "application/json"), Cancel), (HttpStatusCode)status, reason, parameters);

    [Fact]
    public async Task A_refusal_has_a_sentence_a_kind_a_cause_and_values_of_their_own_types()
    {
        var problem = await TestServer.ProblemAsync(await Client.PostAsync("/v1/videos", new StringContent("""{"prompt": "a", "num_frames": 10}""", Encoding.UTF8, "application/json"), Cancel), HttpStatusCode.BadRequest);

        Assert.Contains("10 frames are not 1 more than a multiple of 8", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        var error = problem.GetProperty("error");
        Assert.Equal(("invalid_request_error", "invalid", "num_frames", "frames_not_whole"),
            (error.GetProperty("type").GetString(), error.GetProperty("code").GetString(), error.GetProperty("param").GetString(), error.GetProperty("reason").GetString()));
        Assert.Equal("""{"frames":10,"multiple":8,"below":9,"above":17}""", error.GetProperty("parameters").GetRawText());
    }

    [Fact]
    public async Task A_prompt_that_is_too_long_and_a_body_of_another_type_are_refused()
    {
        var prompt = $"{{\"prompt\": \"{new string('a', 101)}\"}}";
        await TestServer.RefusedAsync(await Client.PostAsync("/v1/videos", new StringContent(prompt, Encoding.UTF8, "application/json"), Cancel), HttpStatusCode.BadRequest, "text_too_long", "characters=101|most=100");
        await TestServer.RefusedAsync(await Client.PostAsync("/v1/videos", new StringContent("a circle", Encoding.UTF8, "text/plain"), Cancel), HttpStatusCode.UnsupportedMediaType, "media_type_unsupported");
        await TestServer.RefusedAsync(await Client.PostAsync("/v1/videos", null, Cancel), HttpStatusCode.UnsupportedMediaType, "media_type_unsupported");
    }

    [Fact]
    public async Task Malformed_forms_are_refused()
    {
        foreach (var (type, body, reason) in new[]
        {
            ("multipart/form-data", "x", "form_without_boundary"),
            ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na circle", "form_damaged"),
            ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data\r\n\r\na circle\r\n--b--\r\n", "part_without_name"),
            ("multipart/form-data; boundary=b", "nothing of the kind", "form_damaged"),
        })
        {
            using var content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
            content.Headers.ContentType = MediaTypeHeaderValue.Parse(type);
            await TestServer.RefusedAsync(await Client.PostAsync("/v1/videos", content, Cancel), HttpStatusCode.BadRequest, reason);
        }
    }

    [Fact]
    public async Task Uploads_are_refused_by_their_bytes_pixels_and_kind_and_nothing_of_them_stays()
    {
        await RefusedAsync(new byte[300_000], HttpStatusCode.UnsupportedMediaType, "upload_of_other_kind");
        await RefusedAsync([0x89, (byte)'P', (byte)'N', (byte)'G', .. new byte[150_000]], HttpStatusCode.RequestEntityTooLarge, "upload_too_large");
        await RefusedAsync([0x89, (byte)'P', (byte)'N', (byte)'G', .. new byte[50]], HttpStatusCode.UnsupportedMediaType, "not_a_picture");
        await RefusedAsync([], HttpStatusCode.BadRequest, "upload_empty");
        await RefusedAsync(Media.PngWriter.Encode(new Media.RgbImage(200, 100, new byte[200 * 100 * 3])), HttpStatusCode.RequestEntityTooLarge, "upload_too_many_pixels", "size=200x100");
        await RefusedAsync([0, 0, 0, 24, .. "ftypisom"u8, .. new byte[1000]], HttpStatusCode.UnsupportedMediaType, "not_a_video");

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
    [InlineData("GET", "/v1/videos/video_00000000000000000000000000000000", 404, "video_unknown")]
    [InlineData("GET", "/v1/videos/..%2f..%2fjobs.db", 404, "video_unknown")]
    [InlineData("GET", "/v1/videos/video_0000000000000000000000000000000%2f", 404, "video_unknown")]
    [InlineData("DELETE", "/v1/videos/nothing", 404, "video_unknown")]
    [InlineData("GET", "/v1/videos/nothing/content", 404, "video_unknown")]
    [InlineData("GET", "/v1/videos/nothing/events", 404, "video_unknown")]
    [InlineData("GET", "/v1/videos/nothing/stream", 404, "video_unknown")]
    [InlineData("GET", "/v1/videos?after=nothing", 404, "video_unknown")]
    [InlineData("GET", "/v1/videos?limit=0", 400, "limit_out_of_range")]
    [InlineData("GET", "/v1/videos?limit=many", 400, "limit_out_of_range")]
    [InlineData("GET", "/v1/videos?order=up", 400, "order_unknown")]
    [InlineData("GET", "/v1/nothing", 404, "address_unknown")]
    [InlineData("PUT", "/v1/videos", 405, "method_unknown")]
    public async Task Addresses_of_nothing_are_answered_with_a_problem(string method, string path, int status, string reason)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        await TestServer.RefusedAsync(await Client.SendAsync(request, Cancel), (HttpStatusCode)status, reason);
    }

    [Fact]
    public async Task What_is_not_made_yet_cannot_be_fetched()
    {
        var id = await Server.SubmitAsync(TestServer.Quick);
        await TestServer.RefusedAsync(await Client.GetAsync($"/v1/videos/{id}/content", Cancel), HttpStatusCode.Conflict, "video_queued");
        await TestServer.RefusedAsync(await Client.GetAsync($"/v1/videos/{id}/stream", Cancel), HttpStatusCode.Conflict, "video_queued");
        await TestServer.RefusedAsync(await Client.GetAsync($"/v1/videos/{id}/content?variant=poster", Cancel), HttpStatusCode.BadRequest, "variant_unknown");
    }

    [Fact]
    public async Task More_videos_than_allowed_at_a_time_are_refused()
    {
        for (var i = 0; i < 3; i++)
            await Server.SubmitAsync(TestServer.Quick);
        using var one = new StringContent("{\"prompt\": \"a circle\"}", Encoding.UTF8, "application/json");
        var refused = await Client.PostAsync("/v1/videos", one, Cancel);
        await TestServer.RefusedAsync(refused, HttpStatusCode.TooManyRequests, "too_many_active", "active=3");
        Assert.NotNull(refused.Headers.RetryAfter);
    }

    [Fact]
    public async Task An_idempotency_key_gives_the_same_video_and_refuses_another_request()
    {
        var first = await WithKeyAsync("{\"prompt\": \"a circle\"}");
        var again = await WithKeyAsync("{\"prompt\": \"a circle\"}");
        var other = await WithKeyAsync("{\"prompt\": \"a star\"}");

        Assert.Equal((await TestServer.JsonAsync(first, HttpStatusCode.OK)).GetProperty("id").GetString(), (await TestServer.JsonAsync(again, HttpStatusCode.OK)).GetProperty("id").GetString());
        await TestServer.RefusedAsync(other, HttpStatusCode.UnprocessableEntity, "idempotency_key_used");

        Task<HttpResponseMessage> WithKeyAsync(string body) => Client.SendAsync(new HttpRequestMessage(HttpMethod.Post, "/v1/videos")
        {
            Headers = { { "Idempotency-Key", "one" } },
            Content = new StringContent(body, Encoding.UTF8, "application/json"),
        }, Cancel);
    }

    private async Task RefusedAsync(byte[] upload, HttpStatusCode status, string reason, string parameters = "")
    {
        using var form = new MultipartFormDataContent { { new StringContent("a circle"), "prompt" }, { new ByteArrayContent(upload), "input_reference", "a.png" } };
        var problem = await TestServer.RefusedAsync(await Client.PostAsync("/v1/videos", form, Cancel), status, reason, parameters);
        Assert.DoesNotContain(Server.Data, problem.ToString(), StringComparison.Ordinal);
        Assert.Equal("input_reference", problem.GetProperty("error").GetProperty("param").GetString());
    }
}
