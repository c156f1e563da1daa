using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using PyramidFlow.Models;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Http;

namespace PyramidFlow.Server.Tests;

/// <summary>What programs for OpenAI's API send and expect, beyond the fields themselves.</summary>
public sealed class OpenAiNamesTests() : StartedServer(options => options with { RunsWorker = false, KeepDays = 2, Limits = new ServerLimits { ActiveJobs = 5 } })
{
    [Fact]
    public async Task A_model_and_a_size_of_OpenAI_are_replaced_and_a_header_says_so()
    {
        using var answer = await Server.Client.PostAsJsonAsync("/v1/videos", new { prompt = "a", model = "sora-2-pro", size = "1280x720", seconds = "4" }, Cancel);
        var video = await TestServer.JsonAsync(answer, HttpStatusCode.OK);
        Assert.Equal(("sprites", "192x128"), (video.GetProperty("model").GetString(), video.GetProperty("size").GetString()));
        Assert.Equal("model sora-2-pro is not here and sprites takes its place; size 1280x720 cannot be made and 192x128 takes its place", Assert.Single(answer.Headers.GetValues(AskedRequest.Header)));

        using var own = await Server.Client.PostAsJsonAsync("/v1/videos", new { prompt = "a", model = "sprites", size = "192x128" }, Cancel);
        Assert.False(own.Headers.Contains(AskedRequest.Header));
        await TestServer.RefusedAsync(await Server.Client.PostAsJsonAsync("/v1/videos", new { prompt = "a", model = "sora-3" }, Cancel), HttpStatusCode.BadRequest, "model_unknown");
    }

    [Theory]
    [InlineData("sprites", null, 1024, 1024, 1024, 1024)]
    [InlineData("sprites", null, 1280, 720, 192, 128)]
    [InlineData("sprites", null, 1281, 721, 1281, 721)]
    [InlineData("sora-2", "sora-2", 1024, 1024, 128, 128)]
    [InlineData("sora-2", "sora-2", 720, 1280, 128, 192)]
    [InlineData("dall-e-3", "dall-e-3", 256, 256, 128, 128)]
    [InlineData("gpt-image-2.5-flare", "gpt-image-2.5-flare", 1536, 864, 192, 128)]
    [InlineData("sora-2", "sora-2", 128, 64, 128, 64)]
    public void A_size_is_replaced_where_OpenAI_has_it_and_the_model_cannot_make_it_or_where_the_model_is_one_of_OpenAI(string name, string? replaced, int width, int height, int madeWidth, int madeHeight)
    {
        VideoModel[] models = [new("sprites", "", null, CheckpointFolder.Open(Sprites.Folder).Settings(null))];
        var asked = OpenAiNames.Replace(new VideoRequest { Model = name, Width = width, Height = height }, models);
        Assert.Equal((replaced, replaced is null ? name : null), (asked.Model, asked.Request.Model));
        Assert.Equal((madeWidth, madeHeight, (width, height) != (madeWidth, madeHeight)), (asked.Request.Width, asked.Request.Height, asked.Size is not null));
    }

    [Fact]
    public async Task Each_answer_has_an_id_of_its_own_and_a_refusal_that_will_not_change_says_not_to_try_again()
    {
        var id = await Server.SubmitAsync(TestServer.Quick);
        var ids = new HashSet<string>();
        foreach (var (path, status, again) in new[] { ("/v1/models", 200, ""), ("/v1/videos/none", 404, ""), ($"/v1/videos/{id}/content", 409, "false"), ("/health", 200, "") })
        {
            using var answer = await Server.Client.GetAsync(path, Cancel);
            Assert.Equal((path, status, again), (path, (int)answer.StatusCode, answer.Headers.TryGetValues("x-should-retry", out var said) ? said.Single() : ""));
            Assert.Matches("^req_[0-9a-f]{32}$", Assert.Single(answer.Headers.GetValues(RequestIds.Header)));
            Assert.True(ids.Add(answer.Headers.GetValues(RequestIds.Header).Single()));
        }
    }

    [Fact]
    public async Task An_ended_video_says_when_it_is_removed()
    {
        var id = await Server.SubmitAsync(TestServer.Quick);
        Assert.Equal(JsonValueKind.Null, (await Server.GetAsync($"/v1/videos/{id}")).GetProperty("expires_at").ValueKind);
        var cancelled = await Server.PostAsync(new { }, $"/v1/videos/{id}/cancel");
        Assert.Equal(cancelled.GetProperty("completed_at").GetInt64() + (2 * 24 * 3600), cancelled.GetProperty("expires_at").GetInt64());
    }

    [Fact]
    public async Task Several_videos_of_one_request_have_seeds_in_a_row_and_come_all_or_not_at_all()
    {
        var video = await Server.PostAsync(new { prompt = "a", seed = 7, n = 3, num_frames = 9 });
        string[] ids = [.. video.GetProperty("ids").EnumerateArray().Select(id => id.GetString()!)];
        Assert.Equal(video.GetProperty("id").GetString(), ids[0]);
        var seeds = new List<int>();
        foreach (var id in ids)
            seeds.Add((await Server.GetAsync($"/v1/videos/{id}")).GetProperty("seed").GetInt32());
        Assert.Equal([7, 8, 9], seeds);

        await TestServer.RefusedAsync(await Server.Client.PostAsJsonAsync("/v1/videos", new { prompt = "a", n = 3 }, Cancel), HttpStatusCode.TooManyRequests, "too_many_active");
        Assert.Equal(3, (await Server.GetAsync("/v1/videos")).GetProperty("data").GetArrayLength());
    }

    [Fact]
    public async Task Several_videos_with_an_idempotency_key_are_the_same_when_they_are_asked_for_again()
    {
        Assert.Equal(await IdsAsync(), await IdsAsync());
        Assert.Equal(2, (await Server.GetAsync("/v1/videos")).GetProperty("data").GetArrayLength());
        foreach (var count in new[] { 1, 3 })
            await TestServer.RefusedAsync(await SendAsync("one", count), HttpStatusCode.UnprocessableEntity, "idempotency_key_used");

        // No key of a client is that of a later video of a group.
        await TestServer.JsonAsync(await SendAsync("one#2", 1), HttpStatusCode.OK);
        await TestServer.RefusedAsync(await SendAsync("one#2", 2), HttpStatusCode.UnprocessableEntity, "idempotency_key_used");
        Assert.Equal(3, (await Server.GetAsync("/v1/videos")).GetProperty("data").GetArrayLength());

        async Task<string> IdsAsync() => (await TestServer.JsonAsync(await SendAsync("one", 2), HttpStatusCode.OK)).GetProperty("ids").GetRawText();

        async Task<HttpResponseMessage> SendAsync(string key, int count)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/videos") { Content = JsonContent.Create(new { prompt = "a", n = count }), Headers = { { "Idempotency-Key", key } } };
            return await Server.Client.SendAsync(request, Cancel);
        }
    }

    [Fact]
    public async Task An_edit_is_a_remix_of_a_video_of_this_service()
    {
        var id = await Server.SubmitAsync(TestServer.Quick);
        var edited = await Server.PostAsync(new { prompt = "b", video = new { id } }, "/v1/videos/edits");
        Assert.Equal((id, 7, "b"), (edited.GetProperty("remixed_from_video_id").GetString(), edited.GetProperty("seed").GetInt32(), edited.GetProperty("prompt").GetString()));

        using var file = new MultipartFormDataContent { { new StringContent("b"), "prompt" }, { new ByteArrayContent([0, 0, 0, 24, .. "ftypmp42"u8, .. new byte[12]]), "video", "a.mp4" } };
        await TestServer.RefusedAsync(await Server.Client.PostAsync("/v1/videos/edits", file, Cancel), HttpStatusCode.BadRequest, "edit_of_file");
        await TestServer.RefusedAsync(await Server.Client.PostAsJsonAsync("/v1/videos/edits", new { prompt = "b" }, Cancel), HttpStatusCode.BadRequest, "input_missing");
    }
}
