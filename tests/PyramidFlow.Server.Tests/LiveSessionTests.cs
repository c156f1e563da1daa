using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Http;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;
using PyramidFlow.Testing;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Server.Tests;

/// <summary>Videos that are changed while they are made, over WebSockets.</summary>
public sealed class LiveSessionTests
{
    private static readonly object Long = new { prompt = "a small red circle moving right on a black background", num_frames = 8 * 60 + 1, num_inference_steps = 1, seed = 7 };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Changes_at_random_moments_are_answered_with_their_unit_and_the_video_is_made_again_from_its_settings()
    {
        await using var server = await TestServer.StartAsync();
        var (random, waits, asked) = (new Random(5), new List<double>(), new SortedDictionary<int, string>());
        var id = await server.SubmitAsync(Long);
        await BegunAsync(server, id);
        using var socket = await ConnectAsync(server, id);
        for (var i = 0; i < 50; i++)
        {
            var (prompt, start) = ($"a large blue square {i}", Stopwatch.GetTimestamp());
            var answer = await AskAsync(socket, new { type = "prompt", prompt, event_id = $"{i}" });
            waits.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
            Assert.Equal(("accepted", $"{i}"), (answer.GetProperty("type").GetString(), answer.GetProperty("event_id").GetString()));
            asked[answer.GetProperty("from_unit").GetInt32() - 1] = prompt;
            await Task.Delay(random.Next(200), Cancel);
        }

        var end = (await AskAsync(socket, new { type = "stop" })).GetProperty("from_unit").GetInt32() - 1;
        Assert.Equal("accepted", (await AskAsync(socket, new { type = "go_on" })).GetProperty("type").GetString());
        Assert.Equal("no_end_ahead", (await AskAsync(socket, new { type = "go_on" })).GetProperty("error").GetProperty("reason").GetString());
        end = (await AskAsync(socket, new { type = "stop" })).GetProperty("from_unit").GetInt32() - 1;
        waits.Sort();
        TestContext.Current.TestOutputHelper?.WriteLine($"{waits.Count} changes at {asked.Count} units: median {waits[waits.Count / 2]:F1} ms, p95 {waits[waits.Count * 95 / 100]:F1} ms, longest {waits[^1]:F1} ms");

        var video = await server.EndedAsync(id);
        Assert.Equal(("completed", 1 + ((end - 1) * 8)), (video.GetProperty("status").GetString(), video.GetProperty("num_frames").GetInt32()));
        var schedule = video.GetProperty("prompts").EnumerateArray().Select(change => change.GetProperty("prompt").GetString()).ToList();
        Assert.Equal([.. asked.Where(change => change.Key < end).Select(change => change.Value)], schedule[^asked.Count(change => change.Key < end)..]);

        // The same notes come from a request with the settings that the video has now.
        var again = await server.SubmitAsync(new { prompt = video.GetProperty("prompt").GetString(), num_frames = video.GetProperty("num_frames").GetInt32(), num_inference_steps = 1, seed = 7, prompts = video.GetProperty("prompts") });
        Assert.Equal("completed", (await server.EndedAsync(again)).GetProperty("status").GetString());
        Assert.Equal(PngText.Read(await FileAsync(server, id)), PngText.Read(await FileAsync(server, again)));
        var file = Path.Combine(server.Data, "videos", id, "1.mp4");
        var notes = GenerationNotes.Read(await MediaMetadata.ReadAsync(file, cancellationToken: Cancel))!;
        Assert.Equal(schedule, notes.Options.Schedule.Select(change => change.Prompt).Prepend(notes.Options.Prompt).ToList()[^schedule.Count..]);
    }

    [Fact]
    public async Task What_cannot_be_changed_is_refused_with_a_sentence_and_the_socket_closes_with_the_video()
    {
        await using var server = await TestServer.StartAsync();
        await TestServer.RefusedAsync(await server.Client.GetAsync("/v1/videos/video_0/live", Cancel), HttpStatusCode.BadRequest, "no_websocket");
        var id = await server.SubmitAsync(Long);
        await BegunAsync(server, id);
        using var socket = await ConnectAsync(server, id);
        foreach (var (message, reason) in new (object, string)[]
        {
            (new { type = "prompt", prompt = " " }, "prompt_empty"), (new { type = "prompt", prompt = new string('a', 5000) }, "text_too_long"), (new { type = "paint" }, "change_unknown"),
            ("stop", "body_malformed"), (new { type = "prompt", prompt = new string('a', 70_000) }, "message_too_long"),
        })
            Assert.Equal(reason, (await AskAsync(socket, message)).GetProperty("error").GetProperty("reason").GetString());

        var jobs = server.Services.GetRequiredService<IVideoJobs>();
        await jobs.CancelAsync(Owner.Local, id, Cancel);
        var closed = await socket.ReceiveAsync(new byte[100], Cancel);
        Assert.Equal((WebSocketMessageType.Close, "failed"), (closed.MessageType, socket.CloseStatusDescription));
        FaultOf("video_ended", await Assert.ThrowsAsync<JobException>(() => jobs.ChangeAsync(Owner.Local, id, new LiveChange(LiveChangeKind.Stop), Cancel)));

        static void FaultOf(string code, JobException fault) => Assert.Equal(code, fault.Code);
    }

    [Fact]
    public async Task A_client_that_sends_too_much_is_told_so_and_a_change_may_come_by_one_request()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false });
        var id = await server.SubmitAsync(Long);
        using (var socket = await ConnectAsync(server, id))
        {
            await socket.SendAsync(new byte[2 << 20], WebSocketMessageType.Text, false, Cancel);
            await ClosedAsync(socket, WebSocketCloseStatus.MessageTooBig, "message_too_long");
        }

        using (var socket = await ConnectAsync(server, id))
        {
            for (var i = 0; i < LiveSession.MostMessages; i++)
                Assert.Equal("change_unknown", (await AskAsync(socket, new { type = "paint" })).GetProperty("error").GetProperty("reason").GetString());
            await socket.SendAsync("{}"u8.ToArray(), WebSocketMessageType.Text, true, Cancel);
            await ClosedAsync(socket, WebSocketCloseStatus.PolicyViolation, "too_many_messages");
        }

        var store = server.Services.GetRequiredService<IJobStore>();
        Assert.NotNull(await store.BeginUnitAsync((await store.LeaseAsync("a", ["sprites"], TimeSpan.FromMinutes(5), Cancel))!, 2, 9, Cancel));
        var changed = await server.PostAsync(new { type = "prompt", prompt = "a blue ball" }, $"/v1/videos/{id}/live");
        Assert.Equal(("accepted", 4), (changed.GetProperty("type").GetString(), changed.GetProperty("from_unit").GetInt32()));
        await TestServer.RefusedAsync(await server.Client.PostAsJsonAsync($"/v1/videos/{id}/live", new { type = "go_on" }, Cancel), HttpStatusCode.Conflict, "no_end_ahead");
        await TestServer.RefusedAsync(await server.Client.PostAsync($"/v1/videos/{id}/live", new ByteArrayContent(new byte[70_000]), Cancel), HttpStatusCode.RequestEntityTooLarge, "message_too_long");

        static async Task ClosedAsync(ClientWebSocket socket, WebSocketCloseStatus status, string reason)
        {
            Assert.Equal(WebSocketMessageType.Close, (await socket.ReceiveAsync(new byte[100], Cancel)).MessageType);
            Assert.Equal((status, reason), (socket.CloseStatus, socket.CloseStatusDescription));
        }
    }

    [Fact]
    public async Task A_worker_that_has_lost_its_video_begins_no_unit()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false });
        var id = await server.SubmitAsync(Long);
        var store = server.Services.GetRequiredService<IJobStore>();
        var lease = (await store.LeaseAsync("a", ["sprites"], TimeSpan.FromMinutes(5), Cancel))!;
        await store.CancelAsync(id, ServiceFault.Cancelled(), Cancel);
        await using var keeper = new LeaseKeeper(store, lease, TimeSpan.FromMinutes(5), new JobSignals(), NullLogger.Instance, Cancel);
        Assert.ThrowsAny<OperationCanceledException>(() => new VideoDirector(store, lease, keeper, NullLogger.Instance).Begin(0, 9, CancellationToken.None));
        Assert.True(keeper.IsLost && keeper.Stop.IsCancellationRequested);
    }

    [Fact]
    public async Task Several_processes_that_take_a_video_over_keep_its_changes_and_take_no_others()
    {
        using var folder = new TemporaryFolder();
        string id;
        int from;
        await using (var alone = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.File("data")))
        {
            id = await alone.SubmitAsync(new { prompt = "a small red circle moving right on a black background", num_frames = 33, num_inference_steps = 1, seed = 7 });
            var (store, changes) = (alone.Services.GetRequiredService<IJobStore>(), alone.Services.GetRequiredService<IVideoJobs>());
            var lease = (await store.LeaseAsync("a", ["sprites"], TimeSpan.FromMinutes(5), Cancel))!;
            await store.BeginUnitAsync(lease, 5, 5, Cancel);
            Assert.Equal("video_made_together", (await Assert.ThrowsAsync<JobException>(() => changes.ChangeAsync(Owner.Local, id, new LiveChange(LiveChangeKind.Stop), Cancel))).Code);
            await store.BeginUnitAsync(lease, 2, 5, Cancel);
            from = (await changes.ChangeAsync(Owner.Local, id, new LiveChange(LiveChangeKind.Prompt, "a large blue square"), Cancel)).FromUnit;
            Assert.True(await store.ReleaseAsync(lease, Cancel));
        }

        var groups = await Task.WhenAll(Enumerable.Range(0, 2).Select(rank => Task.Run(() => ProcessGroup.Join(
            new Rendezvous(rank, 2, rank, "127.0.0.1", 0) { StoreFile = folder.File("store") }, new GroupOptions { Limit = TimeSpan.FromMinutes(2) }, Cancel), Cancel)));
        using var leads = groups[0];
        using var follows = groups[1];
        var following = VideoWorkers.FollowAsync(Of(new ServerOptions { DataFolder = "", Models = () => [new ModelFolder("sprites", Sprites.Folder)] }, follows), Cancel);
        await using (var together = await TestServer.StartAsync(options => Of(options, leads), folder.File("data")))
        {
            var jobs = together.Services.GetRequiredService<IVideoJobs>();
            Assert.Equal("completed", (await together.EndedAsync(id)).GetProperty("status").GetString());
            var job = await jobs.GetAsync(Owner.Local, id, Cancel);
            Assert.True(job.Live!.IsFixed);
            var request = job.Request;
            Assert.Equal(new PromptChange(ClipChanges.SecondsOf(from, request.FramesPerUnit ?? 1, false, jobs.Models[0].Settings.FramesPerSecond), "a large blue square"), Assert.Single(request.Schedule));
        }

        Assert.True(await following);

        static ServerOptions Of(ServerOptions options, ProcessGroup group) => options with { Pipeline = options.Pipeline with { Parallel = new VideoParallel(group), Threads = 1 } };
    }

    private static Task<JsonElement> BegunAsync(TestServer server, string id) =>
        server.UntilAsync(id, video => video.TryGetProperty("stage", out var stage) && stage.ValueKind == JsonValueKind.Object && stage.GetProperty("phase").GetString() is "denoising" or "decoding");

    private static async Task<ClientWebSocket> ConnectAsync(TestServer server, string id)
    {
        var socket = new ClientWebSocket();
        await socket.ConnectAsync(new UriBuilder(new Uri(server.Client.BaseAddress!, $"/v1/videos/{id}/live")) { Scheme = "ws" }.Uri, Cancel);
        return socket;
    }

    private static async Task<JsonElement> AskAsync(ClientWebSocket socket, object message)
    {
        await socket.SendAsync(JsonSerializer.SerializeToUtf8Bytes(message), WebSocketMessageType.Text, true, Cancel);
        var buffer = new byte[8192];
        var read = await socket.ReceiveAsync(buffer, Cancel);
        Assert.Equal(WebSocketMessageType.Text, read.MessageType);
        return JsonDocument.Parse(Encoding.UTF8.GetString(buffer, 0, read.Count)).RootElement;
    }

    private static async Task<string> FileAsync(TestServer server, string id)
    {
        var path = Path.Combine(server.Data, $"{id}.png");
        await File.WriteAllBytesAsync(path, await server.Client.GetByteArrayAsync($"/v1/videos/{id}/content?variant=last_frame", Cancel), Cancel);
        return path;
    }
}
