using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using PyramidFlow.Media;

namespace PyramidFlow.Server.Tests;

/// <summary>Fields that are unknown, repeated, of the wrong type or no text; and what real clients send.</summary>
public sealed class RequestTypesTests() : StartedServer(options => options with { RunsWorker = false })
{
    private static readonly byte[] Picture = PngWriter.Encode(new RgbImage(8, 8, new byte[8 * 8 * 3]));

    [Theory]
    [InlineData("""{"prompt":NaN}""", "prompt", "value_invalid", "value=such an object")]
    [InlineData("""{"prompt":["a red ball"]}""", "prompt", "value_invalid", "value=such a list")]
    [InlineData("""{"prompt":{"text":"a"}}""", "prompt", "value_invalid", "value=such an object")]
    [InlineData("""{"prompt":true}""", "prompt", "value_invalid", "value=true")]
    [InlineData("""{"prompt":"a","model":7}""", "model", "value_invalid", "value=a number")]
    [InlineData("""{"prompt":"a","secnds":"0.4"}""", "secnds", "field_unknown", "field=secnds|nearest=seconds")]
    [InlineData("""{"prompt":"a","width":128}""", "width", "field_unknown", "nearest=size")]
    [InlineData("""{"prompt":"a","colour":"red"}""", "colour", "field_unknown", "known~prompt, model, num_frames")]
    [InlineData("""{"prompt":"a","prompt":"b"}""", "prompt", "body_malformed")]
    [InlineData("""{"prompt":"a","seed":1,"extra_params":{"seed":1}}""", "seed", "field_twice", "field=seed")]
    [InlineData("""{"prompt":"a","extra_params":{"sead":1}}""", "sead", "field_unknown", "nearest=seed")]
    [InlineData("""{"prompt":"a","extra_params":[1]}""", "extra_params", "value_invalid", "value=such a list")]
    [InlineData("""{"prompt":"a","seconds":true}""", "seconds", "value_invalid", "value=true")]
    [InlineData("""{"prompt":"a","seconds":"1,5"}""", "seconds", "value_invalid", "value=1,5|advice~write 1.5")]
    [InlineData("""{"prompt":"a","guidance_scale":"7,5"}""", "guidance_scale", "value_invalid", "value=7,5|advice~write 7.5")]
    [InlineData("""{"prompt":"a","guidance_scale":NaN}""", "guidance_scale", "value_invalid", "value=such an object")]
    [InlineData("""{"prompt":"a","guidance_scale":101}""", "guidance_scale", "guidance_beyond_limit", "most=100")]
    [InlineData("""{"prompt":"a","video_guidance_scale":101}""", "video_guidance_scale", "guidance_beyond_limit", "most=100")]
    [InlineData("""{"prompt":"a","num_frames":9.5}""", "num_frames", "value_invalid", "value=9.5")]
    [InlineData("""{"prompt":"a","num_frames":10}""", "num_frames", "frames_not_whole", "frames=10|multiple=8|below=9|above=17")]
    [InlineData("""{"prompt":"a","seconds":"-1"}""", "seconds", "value_invalid", "value=-1")]
    [InlineData("""{"prompt":"a","size":"100x128"}""", "size", "size_not_multiple", "side=width|value=100|above=128")]
    [InlineData("""{"prompt":"a","size":"100x64"}""", "size", "size_not_multiple", "side=width|value=100|above=128")]
    [InlineData("""{"prompt":"a","steps":[1,2]}""", "steps", "steps_per_stage", "numbers=2|stages=3")]
    [InlineData("""{"prompt":"a","num_inference_steps":[1,2]}""", "num_inference_steps", "steps_per_stage", "numbers=2|stages=3")]
    [InlineData("""{"prompt":"a","video_steps":[1,2]}""", "video_steps", "steps_per_stage", "numbers=2|stages=3")]
    [InlineData("""{"prompt":"a","steps":[[1],2,3]}""", "steps", "value_invalid", "value=such a list")]
    [InlineData("""{"prompt":"a","steps":201}""", "steps", "steps_beyond_limit", "most=200")]
    [InlineData("""{"prompt":"a","seed":-2}""", "seed", "value_invalid", "value=-2|advice~-1")]
    [InlineData("""{"prompt":"a","n":11}""", "n", "count_beyond_limit", "least=1|most=10")]
    [InlineData("""{"prompt":"a","reuse_prefix":0}""", "reuse_prefix", "value_invalid", "value=0|advice~1 to 1000")]
    [InlineData("""{"prompt":"a","prompts":[{"from":1,"prompt":"b","until":2}]}""", "prompts", "value_invalid", "advice~from")]
    [InlineData("""{"prompt":"a","prompts":[null]}""", "prompts", "value_invalid", "value=such a list")]
    [InlineData("""{"prompt":"a","prompts":[{"from":"1,5","prompt":"b"}]}""", "prompts", "value_invalid", "advice~write 1.5")]
    [InlineData("""{"prompt":"a","prompts":[{"from":9,"prompt":"b"}]}""", "prompts", "prompt_too_late", "second=9")]
    [InlineData("""{"prompt":"a","prompts":[{"from":900,"prompt":"b"}]}""", "prompts", "prompt_too_late", "second=900")]
    [InlineData("""{"prompt":"a","input_reference":7}""", "input_reference", "value_invalid", "value=a number")]
    [InlineData("""{"prompt":"a","input_reference":{"url":"data:"}}""", "input_reference", "value_invalid", "value=such an object|advice~image_url")]
    [InlineData("""{"prompt":"a","input_reference":{"file_id":"file-1"}}""", "input_reference", "value_invalid", "value=such an object")]
    [InlineData("""{"prompt":"a","extra_params":{"input_reference":"data:image/png;base64,AAAA"}}""", "input_reference", "field_misplaced", "within=extra_params")]
    [InlineData("""{"prompt":"cut \ud83d"}""", "prompt", "body_malformed")]
    [InlineData("""{"prompt":"a","size":"\ud83d"}""", "size", "body_malformed")]
    [InlineData("""{"\ud83d":1,"prompt":"a"}""", null, "body_malformed")]
    [InlineData("""{"\ud800":[],"\ud800":null}""", null, "body_malformed")]
    [InlineData("""{"id":"\udc00\ud800"}""", "id", "body_malformed")]
    [InlineData("""{"prompt":"a","input_reference":{"image_url":"\ud83d"}}""", "input_reference", "not_a_data_url")]
    [InlineData("""{"prompt":"a","extra_params":"{\"negative_prompt\":\"\\ud83d\"}"}""", "negative_prompt", "field_not_json", "field=extra_params")]
    [InlineData("""{"prompt":"a","negative_prompt":"b\u0000"}""", "negative_prompt", "value_invalid")]
    [InlineData("""{"prompt":"a","prompt_suffix":"b\u0000"}""", "prompt_suffix", "value_invalid")]
    [InlineData("""{"prompt":"a","prompts":[{"from":1,"prompt":"b\u0000"}]}""", "prompts", "value_invalid")]
    [InlineData("""{"prompt":"a","seconds":0.0001,"frames_per_unit":1,"history":-1}""", "history", "value_invalid", "value=-1")]
    [InlineData("""{"prompt":"a","seconds":1000000000}""", "seconds", "too_many_seconds", "seconds=1000000000")]
    public async Task A_field_that_cannot_be_taken_is_named(string body, string? field, string reason, string parameters = "")
    {
        using var content = new StringContent(body, Encoding.UTF8, "application/json");
        var problem = await TestServer.RefusedAsync(await Server.Client.PostAsync("/v1/videos", content, Cancel), HttpStatusCode.BadRequest, reason, parameters);
        Assert.Equal(field, problem.GetProperty("error").GetProperty("param").GetString());
    }

    [Theory]
    [InlineData(39)]
    [InlineData(59)]
    public async Task An_error_that_shows_the_beginning_of_a_text_never_cuts_a_character_in_half(int before)
    {
        var text = new string('x', before) + "😀" + new string('y', 60);
        foreach (var body in new[] { $$"""{"prompt":"a","{{text}}":1}""", $$"""{"prompt":"a","size":"{{text}}"}""", $$"""{"prompt":"a","prompts":[{"from":1,"prompt":"b","{{text}}":2}]}""" })
        {
            var problem = await RefusedAsync(Encoding.UTF8.GetBytes(body), "/v1/videos");
            Assert.DoesNotContain('\uFFFD', problem.GetProperty("detail").GetString()!);
        }
    }

    [Fact]
    public async Task Text_that_is_not_UTF8_is_refused_in_bodies_and_forms_and_never_altered()
    {
        byte[] cafe = [.. "caf"u8, 0xe9];
        var json = await RefusedAsync([.. "{\"prompt\":\""u8, .. cafe, .. "\"}"u8], "/v1/videos");
        Assert.Equal("body_malformed", json.GetProperty("error").GetProperty("reason").GetString());
        Assert.Contains("not UTF-8", json.GetProperty("detail").GetString(), StringComparison.Ordinal);
        foreach (var (name, value) in new[] { ("prompt", cafe), ("extra_params", [.. "{\"negative_prompt\":\""u8, .. cafe, .. "\"}"u8]), ("prompt", "a\0b"u8.ToArray()) })
        {
            using var form = new MultipartFormDataContent { { new ByteArrayContent(value), name } };
            var problem = await TestServer.ProblemAsync(await Server.Client.PostAsync("/v1/videos", form, Cancel), HttpStatusCode.BadRequest);
            Assert.Equal(name, problem.GetProperty("error").GetProperty("param").GetString());
        }
    }

    [Fact]
    public async Task Whole_numbers_may_be_written_with_a_point_and_everything_OpenAIs_clients_send_is_taken()
    {
        var video = await Server.PostAsync(JsonDocument.Parse("""
            {"prompt":"a","model":"sprites","seconds":"0.4","size":"128x128","user":"u","quality":"standard","n":1,"response_format":"url","input_reference":null,
             "extra_body":{"seed":7.0,"num_inference_steps":2.0,"guidance_scale":"6.5"},"extra_params":"{\"video_steps\":[1.0,2,\"3\"]}"}
            """).RootElement);

        Assert.Equal((7, 9), (video.GetProperty("seed").GetInt32(), video.GetProperty("num_frames").GetInt32()));
        Assert.Equal([2, 2, 2], Numbers(video, "steps"));
        Assert.Equal([1, 2, 3], Numbers(video, "video_steps"));
        Assert.Equal(6.5, video.GetProperty("guidance_scale").GetDouble());
    }

    [Fact]
    public async Task Lists_and_objects_in_a_form_are_read_as_clients_write_them()
    {
        using var form = new MultipartFormDataContent();
        foreach (var (name, value) in new[]
        {
            ("prompt", "a"), ("num_frames", "49"), ("steps[]", "1"), ("steps[]", "2"), ("steps[]", "3"), ("extra_params[seed]", "7"), ("extra_params[video_steps][]", "4"),
            ("prompts[][from]", "0.5"), ("prompts[][prompt]", "b"), ("prompts[][from]", "1.5"), ("prompts[][prompt]", "c"),
        })
            form.Add(new StringContent(value), name);
        var video = await TestServer.JsonAsync(await Server.Client.PostAsync("/v1/videos", form, Cancel), HttpStatusCode.OK);

        Assert.Equal(7, video.GetProperty("seed").GetInt32());
        Assert.Equal([1, 2, 3], Numbers(video, "steps"));
        Assert.Equal([4, 4, 4], Numbers(video, "video_steps"));
        Assert.Equal("""[{"from":0.5,"prompt":"b"},{"from":1.5,"prompt":"c"}]""", video.GetProperty("prompts").GetRawText());
    }

    [Theory]
    [InlineData("prompt", "prompt", "field_twice", "field=prompt")]
    [InlineData("steps", "steps[]", "field_twice", "field=steps[]")]
    [InlineData("extra_params[seed]", "extra_params[seed]", "field_twice", "field=extra_params[seed]")]
    [InlineData("prompt", "secnds", "field_unknown", "nearest=seconds")]
    [InlineData("prompt", "video", "field_unknown", "field=video")]
    [InlineData("prompt[]", "user", "value_invalid", "field=prompt|value=such a list")]
    [InlineData("prompt", "seed[][][][][]", "field_name_too_deep", "field=seed|most=3")]
    public async Task A_form_that_repeats_or_invents_a_field_is_refused(string first, string second, string reason, string parameters)
    {
        using var form = new MultipartFormDataContent { { new StringContent("1"), first }, { new StringContent("2"), second } };
        var problem = await TestServer.RefusedAsync(await Server.Client.PostAsync("/v1/videos", form, Cancel), HttpStatusCode.BadRequest, reason, parameters);
        Assert.NotNull(problem.GetProperty("error").GetProperty("param").GetString());
    }

    [Fact]
    public async Task A_remix_takes_a_prompt_and_refuses_what_it_would_pass_over()
    {
        var id = await Server.SubmitAsync(TestServer.Quick);
        using var body = new StringContent("""{"prompt":"b","seed":3}""", Encoding.UTF8, "application/json");
        await TestServer.RefusedAsync(await Server.Client.PostAsync($"/v1/videos/{id}/remix", body, Cancel), HttpStatusCode.BadRequest, "field_unknown", "field=seed|known~prompt");
    }

    [Fact]
    public async Task An_idempotency_key_with_another_file_is_a_conflict()
    {
        var other = PngWriter.Encode(new RgbImage(8, 8, Enumerable.Repeat((byte)9, 8 * 8 * 3).ToArray()));
        var first = await TestServer.JsonAsync(await WithAsync(Picture, 1), HttpStatusCode.OK);
        var again = await TestServer.JsonAsync(await WithAsync(Picture, 1), HttpStatusCode.OK);

        Assert.Equal(first.GetProperty("id").GetString(), again.GetProperty("id").GetString());
        await TestServer.RefusedAsync(await WithAsync(other, 1), HttpStatusCode.UnprocessableEntity, "idempotency_key_used");
        await TestServer.RefusedAsync(await WithAsync(Picture, 2), HttpStatusCode.UnprocessableEntity, "idempotency_key_used");

        async Task<HttpResponseMessage> WithAsync(byte[] picture, int seed)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/videos")
            {
                Headers = { { "Idempotency-Key", "one" } },
                Content = new MultipartFormDataContent { { new StringContent("a"), "prompt" }, { new StringContent($"{seed}"), "seed" }, { new ByteArrayContent(picture), "input_reference", "a.png" } },
            };
            return await Server.Client.SendAsync(request, Cancel);
        }
    }

    [Fact]
    public async Task A_model_can_be_asked_for_by_its_id()
    {
        var model = await Server.GetAsync("/v1/models/sprites");
        Assert.Equal(("sprites", "model"), (model.GetProperty("id").GetString(), model.GetProperty("object").GetString()));
        Assert.Equal("sprites", (await Server.GetAsync("/v1/models/sora-2")).GetProperty("id").GetString());
        await TestServer.RefusedAsync(await Server.Client.GetAsync("/v1/models/sora-3", Cancel), HttpStatusCode.NotFound, "model_unknown", "known=sprites, sprites:fast");
    }

    [Fact]
    public async Task What_can_be_fetched_can_be_asked_about_with_HEAD()
    {
        var id = (await TestServer.JsonAsync(await Server.Client.PostAsync("/v1/videos", new MultipartFormDataContent
        {
            { new StringContent("a"), "prompt" }, { new ByteArrayContent(Picture), "input_reference", "a.png" },
        }, Cancel), HttpStatusCode.OK)).GetProperty("id").GetString();
        var picture = await Server.Client.GetByteArrayAsync($"/v1/videos/{id}/content?variant=input", Cancel);

        using var head = await HeadAsync($"/v1/videos/{id}/content?variant=input");
        Assert.Equal((HttpStatusCode.OK, (long?)picture.Length, "image/png"), (head.StatusCode, head.Content.Headers.ContentLength, head.Content.Headers.ContentType?.MediaType));
        foreach (var (path, status) in new[]
        {
            ($"/v1/videos/{id}", 200), ($"/v1/videos/{id}/events", 200), ("/v1/videos", 200), ("/v1/models", 200), ("/v1/models/sprites", 200),
            ($"/v1/videos/{id}/content", 409), ("/v1/videos/nothing/stream", 404), ("/v1/videos/nothing/content", 404), ("/v1/models/nothing", 404),
        })
            Assert.Equal((path, status), (path, (int)(await HeadAsync(path)).StatusCode));

        Task<HttpResponseMessage> HeadAsync(string path) => Server.Client.SendAsync(new HttpRequestMessage(HttpMethod.Head, path), Cancel);
    }

    private static IEnumerable<int> Numbers(JsonElement video, string name) => video.GetProperty(name).EnumerateArray().Select(number => number.GetInt32());

    private async Task<JsonElement> RefusedAsync(byte[] body, string path)
    {
        using var content = new ByteArrayContent(body) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
        return await TestServer.ProblemAsync(await Server.Client.PostAsync(path, content, Cancel), HttpStatusCode.BadRequest);
    }
}
