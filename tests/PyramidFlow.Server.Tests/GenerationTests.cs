using System.Net;
using System.Net.Http.Headers;
using System.Net.ServerSentEvents;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using PyramidFlow.Media;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

public sealed class GenerationTests : StartedServer
{
    [Fact]
    public async Task A_video_goes_through_the_queue_and_can_be_fetched_in_whole_and_in_parts()
    {
        var asked = await Server.PostAsync(TestServer.Quick);
        Assert.Equal(("video", "128x128", 9), (asked.GetProperty("object").GetString(), asked.GetProperty("size").GetString(), asked.GetProperty("num_frames").GetInt32()));
        var id = asked.GetProperty("id").GetString()!;
        var video = await Server.EndedAsync(id);
        Assert.Equal(("completed", 100), (video.GetProperty("status").GetString(), video.GetProperty("progress").GetInt32()));

        using var folder = new TemporaryFolder();
        var bytes = await Server.Client.GetByteArrayAsync($"/v1/videos/{id}/content", Cancel);
        var info = await VideoReader.ProbeAsync(folder.Write("video.mp4", bytes), Cancel);
        Assert.Equal((128, 128, 9L), (info.Width, info.Height, info.FrameCount));

        using var part = new HttpRequestMessage(HttpMethod.Get, $"/v1/videos/{id}/content") { Headers = { Range = new RangeHeaderValue(10, 19) } };
        using var partial = await Server.Client.SendAsync(part, Cancel);
        Assert.Equal(HttpStatusCode.PartialContent, partial.StatusCode);
        Assert.Equal(bytes[10..20], await partial.Content.ReadAsByteArrayAsync(Cancel));
        using var end = new HttpRequestMessage(HttpMethod.Get, $"/v1/videos/{id}/content") { Headers = { Range = new RangeHeaderValue(null, 7) } };
        Assert.Equal(bytes[^7..], await (await Server.Client.SendAsync(end, Cancel)).Content.ReadAsByteArrayAsync(Cancel));
        using var changed = new HttpRequestMessage(HttpMethod.Get, $"/v1/videos/{id}/content") { Headers = { Range = new RangeHeaderValue(10, 19), IfRange = new RangeConditionHeaderValue("\"another\"") } };
        Assert.Equal(bytes, await (await Server.Client.SendAsync(changed, Cancel)).Content.ReadAsByteArrayAsync(Cancel));
        using var beyond = new HttpRequestMessage(HttpMethod.Get, $"/v1/videos/{id}/content") { Headers = { Range = new RangeHeaderValue(bytes.Length + 10, null) } };
        await TestServer.ProblemAsync(await Server.Client.SendAsync(beyond, Cancel), HttpStatusCode.RequestedRangeNotSatisfiable);

        foreach (var (variant, width, height) in new[] { ("thumbnail", 128, 128), ("spritesheet", 512, 384), ("last_frame", 128, 128) })
        {
            using var picture = await Server.Client.GetAsync($"/v1/videos/{id}/content?variant={variant}", Cancel);
            Assert.Equal("image/png", picture.Content.Headers.ContentType?.MediaType);
            Assert.Equal("nosniff", Assert.Single(picture.Headers.GetValues("X-Content-Type-Options")));
            var size = await ImageReader.MeasureAsync(folder.Write($"{variant}.png", await picture.Content.ReadAsByteArrayAsync(Cancel)), Cancel);
            Assert.Equal(new PictureSize(width, height), size);
        }

        Assert.Equal(["1.last.png", "1.mp4", "1.spritesheet.png", "1.thumbnail.png"], Files(id));
    }

    [Fact]
    public async Task Approximations_change_the_video_and_stand_in_its_file()
    {
        const string prompt = "a small red circle moving right on a black background";
        var exact = await Server.SubmitAsync(new { prompt, num_frames = 9, num_inference_steps = 4, seed = 7 });
        var faster = await Server.SubmitAsync(new { prompt, num_frames = 9, num_inference_steps = 4, seed = 7, reuse_prefix = 4, guidance_every = 2, solver = "second-order" });
        using var folder = new TemporaryFolder();
        var files = new List<string>();
        foreach (var id in new[] { exact, faster })
        {
            await Server.EndedAsync(id);
            files.Add(folder.Write($"{id}.mp4", await Server.Client.GetByteArrayAsync($"/v1/videos/{id}/content", Cancel)));
        }

        var notes = (await MediaMetadata.ReadAsync(files[1], Cancel))["comment"];
        Assert.Contains("\"reuse_prefix\":4,\"guidance_every\":2,\"solver\":\"second-order\"", notes, StringComparison.Ordinal);
        Assert.DoesNotContain("solver", (await MediaMetadata.ReadAsync(files[0], Cancel))["comment"], StringComparison.Ordinal);
        Assert.NotEqual(
            await Server.Client.GetByteArrayAsync($"/v1/videos/{exact}/content?variant=last_frame", Cancel),
            await Server.Client.GetByteArrayAsync($"/v1/videos/{faster}/content?variant=last_frame", Cancel));
    }

    [Fact]
    public async Task The_same_seed_gives_the_same_video_and_a_remix_another()
    {
        var first = await Server.SubmitAsync(TestServer.Quick);
        var second = await Server.SubmitAsync(TestServer.Quick);
        await Server.EndedAsync(first);
        await Server.EndedAsync(second);
        var remix = await Server.PostAsync(new { prompt = "a large white star on a navy background" }, $"/v1/videos/{first}/remix");
        var made = await Server.EndedAsync(remix.GetProperty("id").GetString()!);

        Assert.Equal((first, 7), (made.GetProperty("remixed_from_video_id").GetString(), made.GetProperty("seed").GetInt32()));
        var pictures = new List<string>();
        foreach (var id in new[] { first, second, made.GetProperty("id").GetString() })
            pictures.Add(Convert.ToBase64String(await Server.Client.GetByteArrayAsync($"/v1/videos/{id}/content?variant=last_frame", Cancel)));
        Assert.Equal(pictures[0], pictures[1]);
        Assert.NotEqual(pictures[0], pictures[2]);
    }

    [Fact]
    public async Task Events_tell_the_progress_with_previews_and_end_with_the_video()
    {
        var id = await Server.SubmitAsync(new { prompt = "a small red circle", num_frames = 17, num_inference_steps = 4 });
        var events = new List<(string Name, JsonElement Data)>();
        await foreach (var (name, data) in EventsAsync(id))
            events.Add((name, JsonDocument.Parse(data).RootElement));

        Assert.Equal("completed", events[^1].Name);
        var stages = events.Where(e => e.Name == "progress" && e.Data.GetProperty("stage").ValueKind == JsonValueKind.Object).Select(e => e.Data.GetProperty("stage")).ToList();
        Assert.NotEmpty(stages);
        Assert.All(stages, stage => Assert.InRange(stage.GetProperty("unit").GetInt32(), 1, 3));
        var preview = events.First(e => e.Name == "preview").Data.GetProperty("url").GetString()!;
        Assert.StartsWith("data:image/png;base64,iVBOR", preview, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Who_comes_late_to_the_stream_gets_it_from_its_beginning()
    {
        var id = await Server.SubmitAsync(new { prompt = "a small red circle", num_frames = 33, num_inference_steps = 3 });
        await Server.UntilAsync(id, video => video.GetProperty("stage") is { ValueKind: JsonValueKind.Object } stage && stage.GetProperty("live_frames").GetInt32() > 0);
        var streams = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => Server.Client.GetByteArrayAsync($"/v1/videos/{id}/stream", Cancel)));
        await Server.EndedAsync(id);

        using var folder = new TemporaryFolder();
        var frames = 0;
        await foreach (var chunk in VideoReader.ReadAsync(folder.Write("live.mp4", streams[0]), cancellationToken: Cancel))
            frames += chunk.Count;
        Assert.Equal(33, frames);
        Assert.All(streams, stream => Assert.Equal(streams[0], stream));
    }

    [Fact]
    public async Task A_stream_goes_on_through_the_loss_of_a_worker()
    {
        ServerOptions? options = null;
        await using var server = await TestServer.StartAsync(each => options = each with { RunsWorker = false });
        var id = await server.SubmitAsync(new { prompt = "a small red circle", num_frames = 41, num_inference_steps = 8, seed = 5 });
        using var streamed = new MemoryStream();
        Task? streaming = null;
        var events = EventsAsync(id, server).Select(each => JsonDocument.Parse(each.Data).RootElement).ToListAsync(Cancel).AsTask();
        for (var worker = 0; worker < 2; worker++)
        {
            using var host = VideoWorkers.Build(options!);
            await host.StartAsync(Cancel);
            if (worker == 0)
            {
                await server.UntilAsync(id, video => video.GetProperty("stage") is { ValueKind: JsonValueKind.Object } stage && stage.GetProperty("live_frames").GetInt32() > 0);
                var stream = await server.Client.GetStreamAsync($"/v1/videos/{id}/stream", Cancel);
                var first = new byte[500];
                await stream.ReadExactlyAsync(first, Cancel);
                streamed.Write(first);
                streaming = stream.CopyToAsync(streamed, Cancel);
            }
            else
                await server.EndedAsync(id);
            await host.StopAsync(Cancel);
        }

        await streaming!;
        using var folder = new TemporaryFolder();
        var frames = 0;
        await foreach (var chunk in VideoReader.ReadAsync(folder.Write("live.mp4", streamed.ToArray()), cancellationToken: Cancel))
            frames += chunk.Count;
        Assert.Equal(41, frames);
        Assert.Contains(await events, video => video.TryGetProperty("resumed_from_unit", out var unit) && unit is { ValueKind: JsonValueKind.Number } && unit.GetInt32() > 1);
    }

    [Fact]
    public async Task A_cancelled_video_stops_and_the_next_one_runs()
    {
        var slow = await Server.SubmitAsync(TestServer.Slow);
        var next = await Server.SubmitAsync(TestServer.Quick);
        await Server.UntilAsync(slow, video => video.GetProperty("stage").ValueKind == JsonValueKind.Object);
        Assert.Equal(1, (await Server.GetAsync($"/v1/videos/{next}")).GetProperty("queue_position").GetInt32());

        var cancelled = await Server.PostAsync(new { }, $"/v1/videos/{slow}/cancel");

        Assert.Equal(("failed", "cancelled"), (cancelled.GetProperty("status").GetString(), cancelled.GetProperty("error").GetProperty("code").GetString()));
        Assert.Equal("completed", (await Server.EndedAsync(next)).GetProperty("status").GetString());
        Assert.Empty(Files(slow));
    }

    [Fact]
    public async Task A_deleted_video_is_gone_with_its_files_while_it_is_made()
    {
        var id = await Server.SubmitAsync(TestServer.Slow);
        await Server.UntilAsync(id, video => video.GetProperty("stage").ValueKind == JsonValueKind.Object);

        var deleted = await TestServer.JsonAsync(await Server.Client.DeleteAsync($"/v1/videos/{id}", Cancel), HttpStatusCode.OK);

        Assert.True(deleted.GetProperty("deleted").GetBoolean());
        await TestServer.ProblemAsync(await Server.Client.GetAsync($"/v1/videos/{id}", Cancel), HttpStatusCode.NotFound);
        await Server.EndedAsync(await Server.SubmitAsync(TestServer.Quick));
        Assert.False(Directory.Exists(Path.Combine(Server.Data, "videos", id)));
    }

    [Fact]
    public async Task A_picture_that_lacks_its_end_is_taken_and_told_of_with_the_video_and_its_remix()
    {
        // A grey JPEG without its last two bytes.
        const string Cut = "/9j/4AAQSkZJRgABAgAAAQABAAD/2wBDAAgEBAQEBAUFBQUFBQYGBgYGBgYGBgYGBgYHBwcICAgHBwcGBgcHCAgICAkJCQgICAgJCQoKCgwMCwsODg4RERT/xABKAAEAAAAAAAAAAAAAAAAAAAAAAQ"
            + "EAAAAAAAAAAAAAAAAAAAAAEAEAAAAAAAAAAAAAAAAAAAAAEQEAAAAAAAAAAAAAAAAAAAAA/8AAEQgAEAAQAwEiAAIRAAMRAP/aAAwDAQACEQMRAD8AAA8=";
        using var form = new MultipartFormDataContent
        {
            { new ByteArrayContent(Convert.FromBase64String(Cut)), "input_reference", "a.jpg" },
            { new StringContent("a small red circle"), "prompt" },
            { new StringContent("9"), "num_frames" },
            { new StringContent("1"), "num_inference_steps" },
        };
        var id = (await TestServer.JsonAsync(await Server.Client.PostAsync("/v1/videos", form, Cancel), HttpStatusCode.OK)).GetProperty("id").GetString()!;
        var remix = (await Server.PostAsync(new { prompt = "a small blue circle" }, $"/v1/videos/{id}/remix")).GetProperty("id").GetString()!;
        foreach (var made in new[] { id, remix })
        {
            var warnings = (await Server.EndedAsync(made)).GetProperty("warnings").EnumerateArray().Select(warning => warning.GetString());
            Assert.Contains("the picture has no end marker: it was read all the same, but may be cut short", warnings);
        }
    }

    [Fact]
    public async Task A_picture_becomes_the_first_frame_and_a_video_is_gone_on_from()
    {
        using var form = new MultipartFormDataContent
        {
            { new ByteArrayContent(PngWriter.Encode(new RgbImage(64, 32, Enumerable.Repeat((byte)200, 64 * 32 * 3).ToArray()))), "input_reference", "../../evil.png" },
            { new StringContent("a small red circle"), "prompt" },
            { new StringContent("9"), "num_frames" },
            { new StringContent("1"), "num_inference_steps" },
        };
        var from = await TestServer.JsonAsync(await Server.Client.PostAsync("/v1/videos", form, Cancel), HttpStatusCode.OK);
        var id = from.GetProperty("id").GetString()!;
        Assert.Equal("completed", (await Server.EndedAsync(id)).GetProperty("status").GetString());
        var input = await Server.Client.GetByteArrayAsync($"/v1/videos/{id}/content?variant=input", Cancel);
        using var folder = new TemporaryFolder();
        Assert.Equal(new PictureSize(128, 128), await ImageReader.MeasureAsync(folder.Write("input.png", input), Cancel));

        using var extension = new MultipartFormDataContent
        {
            { new StringContent("a small red circle"), "prompt" },
            { new StringContent("8"), "num_frames" },
            { new StringContent("1"), "num_inference_steps" },
            { new ByteArrayContent(await Server.Client.GetByteArrayAsync($"/v1/videos/{id}/content", Cancel)), "input_reference", "clip.mp4" },
        };
        var extended = await TestServer.JsonAsync(await Server.Client.PostAsync("/v1/videos", extension, Cancel), HttpStatusCode.OK);
        Assert.Equal(17, (await Server.EndedAsync(extended.GetProperty("id").GetString()!)).GetProperty("num_frames").GetInt32());

        var again = await Server.SubmitAsync(new { prompt = "a small red circle", num_frames = 8, num_inference_steps = 1, extend_video_id = id });
        Assert.Equal(17, (await Server.EndedAsync(again)).GetProperty("num_frames").GetInt32());
        var next = await Server.SubmitAsync(new { prompt = "a small red circle", num_frames = 9, num_inference_steps = 1, extra_params = new { last_frame_of_video_id = id } });
        Assert.Equal("completed", (await Server.EndedAsync(next)).GetProperty("status").GetString());
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(Server.Data, "incoming")));
    }

    [Fact]
    public async Task The_gallery_survives_a_restart_and_a_video_that_was_being_made_goes_on_from_its_last_finished_unit()
    {
        using var folder = new TemporaryFolder();
        var longer = new { prompt = "a small red circle", num_frames = 41, num_inference_steps = 8, seed = 5 };
        var interrupted = Random.Shared.Next(2, 4);
        string done, running;
        await using (var before = await TestServer.StartAsync(data: folder.Path))
        {
            done = await before.SubmitAsync(TestServer.Quick);
            await before.EndedAsync(done);
            running = await before.SubmitAsync(longer);
            await before.UntilAsync(running, video => video.GetProperty("stage") is { ValueKind: JsonValueKind.Object } stage && stage.GetProperty("unit").GetInt32() >= interrupted);
        }

        Assert.True(File.Exists(Path.Combine(folder.Path, "videos", running, "units.safetensors")));
        await using var after = await TestServer.StartAsync(data: folder.Path);
        var ended = await after.EndedAsync(running);
        Assert.Equal("completed", ended.GetProperty("status").GetString());
        Assert.InRange(ended.GetProperty("resumed_from_unit").GetInt32(), interrupted, 6);
        var whole = await after.SubmitAsync(longer);
        Assert.Equal(JsonValueKind.Null, (await after.EndedAsync(whole)).GetProperty("resumed_from_unit").ValueKind);
        Assert.Equal(await LastFrameAsync(whole), await LastFrameAsync(running), (one, other) => Math.Abs(one - other) <= 1);
        Assert.Equal(["1.last.png", "1.mp4", "1.spritesheet.png", "1.thumbnail.png"], Files(running, folder.Path));
        await after.Client.DeleteAsync($"/v1/videos/{whole}", Cancel);
        var list = await after.GetAsync("/v1/videos");
        Assert.Equal([running, done], list.GetProperty("data").EnumerateArray().Select(video => video.GetProperty("id").GetString()!));
        Assert.NotEmpty(await after.Client.GetByteArrayAsync($"/v1/videos/{done}/content", Cancel));

        async Task<byte[]> LastFrameAsync(string id)
        {
            var file = folder.Write($"{id}.png", await after.Client.GetByteArrayAsync($"/v1/videos/{id}/content?variant=last_frame", Cancel));
            return (await ImageReader.ReadAsync(file, 128, 128, Cancel)).Pixels.ToArray();
        }
    }

    [Fact]
    public async Task Finished_units_of_a_video_that_waits_are_removed_when_it_is_cancelled_and_by_the_cleanup_once_it_has_ended()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false });
        var store = server.Services.GetRequiredService<IJobStore>();
        var (cancelled, waiting) = (await server.SubmitAsync(TestServer.Quick), await server.SubmitAsync(TestServer.Quick));
        var folder = new VideoFolder(server.Data);
        foreach (var id in new[] { cancelled, waiting })
        {
            Directory.CreateDirectory(folder.For(id));
            await File.WriteAllTextAsync(folder.Units(id), "latents", Cancel);
        }

        await server.PostAsync(new { }, $"/v1/videos/{cancelled}/cancel");
        Assert.False(File.Exists(folder.Units(cancelled)));
        var cleanup = new FileCleanup(store, folder, new RetentionRules());
        await cleanup.SweepAsync(TimeSpan.FromSeconds(-1), Cancel);
        Assert.True(File.Exists(folder.Units(waiting)));
        await store.CancelAsync(waiting, ServiceFault.Cancelled(), Cancel);
        await cleanup.SweepAsync(TimeSpan.FromSeconds(-1), Cancel);
        Assert.False(File.Exists(folder.Units(waiting)));
    }

    private string[] Files(string id, string? data = null)
    {
        var folder = Path.Combine(data ?? Server.Data, "videos", id);
        return Directory.Exists(folder) ? [.. Directory.EnumerateFiles(folder).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)] : [];
    }

    private async IAsyncEnumerable<(string Name, string Data)> EventsAsync(string id, TestServer? server = null)
    {
        await using var stream = await (server ?? Server).Client.GetStreamAsync($"/v1/videos/{id}/events", Cancel);
        await foreach (var item in SseParser.Create(stream).EnumerateAsync(Cancel))
            yield return (item.EventType, item.Data);
    }
}
