using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>What only administrators may see and do.</summary>
public sealed class AdminTests : IDisposable
{
    private static readonly string[] Paths = ["/v1/admin/workers", "/v1/admin/videos?status=nonsense", "/v1/admin/videos?limit=x", "/v1/admin/keys", "/v1/admin/disk", "/admin", "/Admin"];
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Without_an_administrators_key_there_is_nothing_and_with_one_everything_is_seen_and_cancelled()
    {
        // Without keys nobody is an administrator.
        await using (var open = await TestServer.StartAsync(options => options with { RunsWorker = false }))
            await NothingAsync(open, null);

        var keys = new ApiKeys(folder.Path);
        var (alice, boss) = (keys.Add("alice", new KeyLimits(MaxPerDay: 5)), keys.Add("boss", isAdmin: true));
        Assert.Equal((true, false, boss.Length), (new ApiKeys(folder.Path).IsAdmin("boss"), keys.IsAdmin("alice"), alice.Length));
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false, KeepBytes = 1000 }, folder.Path);
        var id = (await AskAsync(server, alice, HttpMethod.Post, "/v1/videos", HttpStatusCode.OK, TestServer.Quick)).GetProperty("id").GetString()!;
        await NothingAsync(server, alice);
        foreach (var path in (string[])[$"/v1/admin/videos/{id}/cancel", "/v1/admin/workers/w/drain", "/v1/admin/workers/w/resume"])
            await AskAsync(server, alice, HttpMethod.Post, path, HttpStatusCode.NotFound);
        await AskAsync(server, null, HttpMethod.Get, "/v1/admin/disk", HttpStatusCode.Unauthorized);
        // Their own videos alone, also for an administrator.
        Assert.Empty((await GetAsync("/v1/videos")).GetProperty("data").EnumerateArray());

        var video = Assert.Single((await GetAsync("/v1/admin/videos?key=alice&status=queued")).GetProperty("data").EnumerateArray());
        Assert.Equal((id, "alice", 1), (video.GetProperty("id").GetString(), video.GetProperty("key").GetString(), video.GetProperty("queue_position").GetInt32()));
        Assert.Empty((await GetAsync("/v1/admin/videos?key=alic")).GetProperty("data").EnumerateArray());
        Assert.Empty((await GetAsync("/v1/admin/videos?status=failed")).GetProperty("data").EnumerateArray());
        await AskAsync(server, boss, HttpMethod.Get, "/v1/admin/videos?status=nonsense", HttpStatusCode.BadRequest);

        var listed = await GetAsync("/v1/admin/keys");
        Assert.DoesNotContain("pf_", listed.GetRawText(), StringComparison.Ordinal);
        Assert.Equal([("alice", false, 1, 5), ("boss", true, 0, null)], listed.GetProperty("data").EnumerateArray().Select(key => (key.GetProperty("name").GetString()!, key.GetProperty("admin").GetBoolean(),
            key.GetProperty("today").GetInt32(), key.GetProperty("max_per_day") is { ValueKind: JsonValueKind.Number } most ? most.GetInt32() : (int?)null)));

        Directory.CreateDirectory(Path.Combine(folder.Path, "videos", id));
        await File.WriteAllBytesAsync(Path.Combine(folder.Path, "videos", id, "1.mp4"), new byte[70], Cancel);
        await File.WriteAllBytesAsync(Path.Combine(folder.Path, "videos", id, "units.safetensors"), new byte[7], Cancel);
        var disk = await GetAsync("/v1/admin/disk");
        Assert.Equal((70, 7, 1000), (disk.GetProperty("videos_bytes").GetInt64(), disk.GetProperty("interim_bytes").GetInt64(), disk.GetProperty("keep_bytes").GetInt64()));
        Assert.InRange(disk.GetProperty("free_bytes").GetInt64(), 1, disk.GetProperty("total_bytes").GetInt64());

        Assert.Equal("failed", (await AskAsync(server, boss, HttpMethod.Post, $"/v1/admin/videos/{id}/cancel", HttpStatusCode.OK)).GetProperty("status").GetString());
        var cancelled = await AskAsync(server, alice, HttpMethod.Get, $"/v1/videos/{id}", HttpStatusCode.OK);
        Assert.Equal("cancelled", cancelled.GetProperty("error").GetProperty("code").GetString());
        await AskAsync(server, boss, HttpMethod.Post, $"/v1/admin/videos/{VideoId.New()}/cancel", HttpStatusCode.NotFound);

        // The role goes with the key.
        keys.Remove("boss");
        boss = keys.Add("boss");
        await NothingAsync(server, boss);

        Task<JsonElement> GetAsync(string path) => AskAsync(server, boss, HttpMethod.Get, path, HttpStatusCode.OK);
    }

    [Fact]
    public async Task A_drained_worker_is_listed_with_what_it_makes_and_takes_no_further_video_until_it_resumes()
    {
        var boss = new ApiKeys(folder.Path).Add("boss", isAdmin: true);
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
        var store = server.Services.GetRequiredService<IJobStore>();
        var entry = new WorkerEntry("w", ["sprites"], 2) { Device = "cuda:0", Memory = 80, MemoryUsed = 7 };
        Assert.False(await store.AnnounceAsync(entry, Cancel));
        var id = (await AskAsync(server, boss, HttpMethod.Post, "/v1/videos", HttpStatusCode.OK, TestServer.Quick)).GetProperty("id").GetString();
        await AskAsync(server, boss, HttpMethod.Post, "/v1/videos", HttpStatusCode.OK, TestServer.Quick);
        var lease = (await store.LeaseAsync("w", ["sprites"], TimeSpan.FromHours(1), Cancel))!;

        var drained = await AskAsync(server, boss, HttpMethod.Post, "/v1/admin/workers/w/drain", HttpStatusCode.OK);
        Assert.Equal((true, true, id, "boss", "cuda:0", 2, 7, 80), (drained.GetProperty("draining").GetBoolean(), drained.GetProperty("alive").GetBoolean(), drained.GetProperty("video_id").GetString(), drained.GetProperty("key").GetString(),
            drained.GetProperty("device").GetString(), drained.GetProperty("processes").GetInt32(), drained.GetProperty("memory_used_bytes").GetInt64(), drained.GetProperty("memory_bytes").GetInt64()));
        Assert.True(await store.RenewAsync(lease, null, TimeSpan.FromHours(1), Cancel));
        // It goes on announcing itself, and may have been away.
        Assert.True(await store.AnnounceAsync(entry, Cancel));
        await store.WithdrawAsync("w", Cancel);
        Assert.True(await store.AnnounceAsync(entry with { IsDraining = true }, Cancel));
        Assert.Null(await store.LeaseAsync("w", ["sprites"], TimeSpan.FromHours(1), Cancel));
        Assert.False(Assert.Single(await store.WorkersAsync(TimeSpan.FromHours(1), Cancel)).CanMake(new QueueEntry("", "sprites", false, 1, null)));

        await AskAsync(server, boss, HttpMethod.Post, "/v1/admin/workers/w/resume", HttpStatusCode.OK);
        Assert.False(await store.AnnounceAsync(entry with { IsDraining = true }, Cancel));
        Assert.NotNull(await store.LeaseAsync("w", ["sprites"], TimeSpan.FromHours(1), Cancel));
        await AskAsync(server, boss, HttpMethod.Post, "/v1/admin/workers/none/drain", HttpStatusCode.NotFound);
    }

    // Not even that a value of a parameter is wrong.
    private static async Task NothingAsync(TestServer server, string? key)
    {
        foreach (var path in Paths)
            Assert.Equal("address_unknown", (await AskAsync(server, key, HttpMethod.Get, path, HttpStatusCode.NotFound)).GetProperty("error").GetProperty("reason").GetString());
    }

    private static async Task<JsonElement> AskAsync(TestServer server, string? key, HttpMethod method, string path, HttpStatusCode status, object? body = null)
    {
        using var request = new HttpRequestMessage(method, path) { Content = body is null ? null : JsonContent.Create(body) };
        if (key is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return await TestServer.JsonAsync(await server.Client.SendAsync(request, Cancel), status);
    }
}
