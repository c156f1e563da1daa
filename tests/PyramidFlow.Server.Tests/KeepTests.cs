using System.Net;
using System.Net.Http.Headers;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>Links to share a video, and the search of prompts.</summary>
public sealed class KeepTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_link_shows_its_video_alone_and_ends_with_its_time_its_video_and_the_key()
    {
        var keys = new ApiKeys(folder.Path);
        var key = keys.Add("alice");
        await using var server = await TestServer.StartAsync(data: folder.Path);
        using var visitor = new HttpClient { BaseAddress = server.Client.BaseAddress };
        server.Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        var id = await server.SubmitAsync(TestServer.Quick);
        await TestServer.RefusedAsync(await server.Client.PostAsync($"/v1/videos/{id}/share?expires_in=5", null, Cancel), HttpStatusCode.BadRequest, "share_time_invalid");
        Assert.Equal("completed", (await server.EndedAsync(id)).GetProperty("status").GetString());
        var link = (await TestServer.JsonAsync(await server.Client.PostAsync($"/v1/videos/{id}/share?expires_in=3600", null, Cancel), HttpStatusCode.OK)).GetProperty("url").GetString()!;

        Assert.Contains("a small red circle", await visitor.GetStringAsync(link, Cancel), StringComparison.Ordinal);
        Assert.Equal(await server.Client.GetByteArrayAsync($"/v1/videos/{id}/content", Cancel), await visitor.GetByteArrayAsync($"{link}/video", Cancel));
        await TestServer.ProblemAsync(await visitor.GetAsync($"{link}/input", Cancel), HttpStatusCode.NotFound);
        await TestServer.ProblemAsync(await visitor.GetAsync($"/v1/videos/{id}", Cancel), HttpStatusCode.Unauthorized);
        await TestServer.RefusedAsync(await visitor.GetAsync($"{link[..^2]}/video", Cancel), HttpStatusCode.NotFound, "link_ended");

        var owner = (await server.Services.GetRequiredService<IJobStore>().FindAsync(id, Cancel))!.Owner;
        var over = ShareLinks.AddressOf(await server.Services.GetRequiredService<ShareLinks>().CreateAsync(owner, id, TimeSpan.FromMilliseconds(-1), Cancel));
        await TestServer.RefusedAsync(await visitor.GetAsync($"{over}/video", Cancel), HttpStatusCode.NotFound, "link_ended");
        Assert.Equal(HttpStatusCode.NotFound, (await visitor.GetAsync(over, Cancel)).StatusCode);

        Assert.True(keys.Remove("alice"));
        keys.Add("alice");
        await TestServer.RefusedAsync(await visitor.GetAsync($"{link}/video", Cancel), HttpStatusCode.NotFound, "link_ended");
    }

    [Fact]
    public async Task A_search_finds_all_words_of_a_prompt_among_many_videos()
    {
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, folder.Path);
        var (store, jobs) = (server.Services.GetRequiredService<IJobStore>(), server.Services.GetRequiredService<IVideoJobs>());
        var request = new VideoRequest { Model = "sprites", Width = 128, Height = 128 };
        for (var i = 0; i < 1100; i++)
            await store.AddAsync(new NewJob(VideoId.New(), Owner.Local, request with { Prompt = i == 3 ? "Ein großer BÄR im Schnee" : $"a circle {i}" }), Cancel);
        for (var lease = await LeaseAsync(); lease is { Job.Request.Prompt: not "a circle 8" }; lease = await LeaseAsync())
            await store.CompleteAsync(lease, new VideoResult(9, 1, 1, []), Cancel);

        Assert.Equal("Ein großer BÄR im Schnee", Assert.Single((await jobs.ListAsync(Owner.Local, new VideoQuery { Words = "bär  ein" }, Cancel)).Jobs).Request.Prompt);
        Assert.Equal(7, (await jobs.ListAsync(Owner.Local, new VideoQuery(100) { Words = "circle" }, Cancel)).Jobs.Count);
        var page = await jobs.ListAsync(Owner.Local, new VideoQuery(3) { Words = "circle" }, Cancel);
        Assert.True(page.HasMore);
        Assert.Equal(["a circle 4", "a circle 2", "a circle 1"], (await jobs.ListAsync(Owner.Local, new VideoQuery(3, page.Jobs[^1].Id) { Words = "circle" }, Cancel)).Jobs.Select(job => job.Request.Prompt));
        await jobs.MarkAsync(Owner.Local, page.Jobs[0].Id, isFavourite: true, Cancel);
        Assert.Equal(page.Jobs[0].Id, Assert.Single((await jobs.ListAsync(Owner.Local, new VideoQuery { OnlyFavourites = true }, Cancel)).Jobs).Id);

        // A call looks at so many videos at most, and says where the next one goes on.
        await using (var database = new SqliteConnection($"Data Source={Path.Combine(server.Data, "jobs.db")}"))
        {
            await database.OpenAsync(Cancel);
            await using var command = database.CreateCommand();
            command.CommandText = "UPDATE videos SET status = 'completed'";
            await command.ExecuteNonQueryAsync(Cancel);
        }

        var first = await jobs.ListAsync(Owner.Local, new VideoQuery { Words = "model" }, Cancel);
        Assert.Equal((0, true), (first.Jobs.Count, first.HasMore));
        var second = await jobs.ListAsync(Owner.Local, new VideoQuery { Words = "model", After = first.Last }, Cancel);
        Assert.Equal((0, false), (second.Jobs.Count, second.HasMore));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => jobs.ListAsync(Owner.Local, new VideoQuery { Words = "circle" }, new CancellationToken(true)));

        Task<JobLease?> LeaseAsync() => store.LeaseAsync("a", ["sprites"], TimeSpan.FromMinutes(5), Cancel);
    }
}
