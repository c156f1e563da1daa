using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <content>Entries that cannot be read, and stores of other versions.</content>
public abstract partial class JobStoreTests
{
    [Theory]
    [InlineData("request = '{\"prompt\": \"a re'", "request: this is not JSON")]
    [InlineData("request = 'null'", "request: this is null")]
    [InlineData("request = '{\"prompt\": \"a circle\"}'", "model, width or height is missing")]
    [InlineData("request = REPLACE(request, '\"prompt\"', '\"solver\":\"of_the_future\",\"prompt\"')", "of_the_future")]
    [InlineData("request = REPLACE(request, 'sprites', 'another')", "model is another")]
    [InlineData("progress = '{\"fraction\": 0.5, \"phase\": \"dreaming\"}'", "dreaming")]
    [InlineData("error = '[]'", "error: ")]
    [InlineData("result = '{'", "result: ")]
    [InlineData("status = 'paused'", "status 'paused' is unknown")]
    [InlineData("created = 9223372036854775807", "out of range")]
    [InlineData("started = -9223372036854775807", "out of range")]
    public Task An_entry_that_cannot_be_read_is_set_aside_and_named_and_the_others_go_on(string damage, string reason) => IsSetAsideAsync(damage, reason);

    private protected async Task IsSetAsideAsync(string damage, string reason)
    {
        var damaged = await AddAsync("key");
        var before = await Store.RevisionAsync(Cancel);
        var whole = await AddAsync();
        await ExecuteAsync($"UPDATE videos SET {damage}, revision = revision + 1 WHERE id = '{damaged.Id}'");

        // Whoever meets it first: the list of its owner, a worker, who follows the changes, or who asks for it.
        var list = await Store.ListAsync(new Owner("me"), new VideoQuery(10), Cancel);
        Assert.Equal([whole.Id, damaged.Id], list!.Select(job => job.Id));
        Assert.Equal([whole.Id, damaged.Id], (await Store.ChangesAsync(before, Cancel)).Select(change => change.Id));
        Assert.Equal(whole.Id, (await Store.LeaseAsync("a", Models, Long, Cancel))!.Id);
        Assert.Null(await Store.LeaseAsync("a", Models, Long, Cancel));
        Assert.Equal(damaged.Id, (await Store.FindByKeyAsync(new NewJob(VideoId.New(), damaged.Owner, damaged.Request) { IdempotencyKey = "key" }, Cancel))!.Id);
        var found = await Store.FindAsync(damaged.Id, Cancel);
        // Whoever looks again changes nothing.
        var seen = await Store.RevisionAsync(Cancel);
        await Store.ChangesAsync(before, Cancel);
        Assert.Equal(seen, await Store.RevisionAsync(Cancel));

        Assert.Equal((VideoStatus.Failed, VideoError.Unreadable), (found!.Status, found.Error!.Code));
        Assert.Contains(reason, found.Error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("LineNumber", found.Error.Message, StringComparison.Ordinal);
        var named = Assert.Single(await Store.UnreadableAsync(Cancel));
        Assert.Equal(damaged.Id, named.Id);
        Assert.Contains(reason, named.Reason, StringComparison.Ordinal);
        Assert.Equal(whole.Id, Assert.Single(await Store.QueueAsync(Cancel)).Id);
        Assert.True((await Store.StatesAsync(Cancel))[damaged.Id].IsUnreadable);
        await Store.DeleteAsync(damaged.Id, Cancel);
        Assert.Empty(await Store.UnreadableAsync(Cancel));
    }

    [Fact]
    public async Task An_entry_that_was_set_aside_while_it_was_made_waits_again_once_it_is_mended()
    {
        var job = await AddAsync();
        await Store.LeaseAsync("a", Models, Long, Cancel);
        await ExecuteAsync("UPDATE videos SET progress = '{'");
        Assert.Equal(VideoError.Unreadable, (await Store.FindAsync(job.Id, Cancel))!.Error!.Code);

        await ExecuteAsync("UPDATE videos SET status = fault_status, fault = NULL, progress = NULL");

        Assert.Equal((job.Id, 2), (await Store.LeaseAsync("b", Models, Long, Cancel))! is var again ? (again.Id, again.Attempt) : default);
    }

    [Fact]
    public async Task A_worker_that_meets_five_damaged_entries_takes_the_sixth()
    {
        for (var i = 0; i < 5; i++)
            await ExecuteAsync($"UPDATE videos SET request = '{{{i}' WHERE id = '{(await AddAsync()).Id}'");
        var whole = await AddAsync();

        Assert.Equal(whole.Id, (await Store.LeaseAsync("a", Models, Long, Cancel))!.Id);
        Assert.Equal(5, (await Store.UnreadableAsync(Cancel)).Count);
    }

    [Fact]
    public async Task A_store_of_before_versions_is_brought_up_to_date_and_keeps_its_jobs()
    {
        var job = await AddAsync();
        await ExecuteAsync("ALTER TABLE videos DROP COLUMN fault");
        await ExecuteAsync("ALTER TABLE videos DROP COLUMN fault_status");
        await ExecuteAsync("ALTER TABLE videos DROP COLUMN loras");
        await ExecuteAsync("ALTER TABLE videos DROP COLUMN webhook");
        await ExecuteAsync("DROP TABLE webhooks");
        await ExecuteAsync("ALTER TABLE videos DROP COLUMN live");
        await ExecuteAsync("ALTER TABLE videos DROP COLUMN favourite");
        await ExecuteAsync("ALTER TABLE videos DROP COLUMN units");
        await ExecuteAsync("ALTER TABLE videos DROP COLUMN tries");
        await ExecuteAsync("DROP TABLE requests");
        await ExecuteAsync("DROP TABLE workers");
        await ExecuteAsync("DROP TABLE turns");
        await ExecuteAsync("DROP TABLE days");
        await ExecuteAsync("DELETE FROM counters WHERE name = 'schema'");

        await Store.InitializeAsync(Cancel);
        await Store.InitializeAsync(Cancel);

        Assert.Equal(job.Id, (await Store.LeaseAsync("a", Models, Long, Cancel))!.Id);
        await using var session = await SqlSession.ReadAsync(dialect!, Cancel);
        Assert.Equal(JobSchema.Version, await JobSchema.ReadVersionAsync(session, Cancel));
    }

    [Fact]
    public async Task A_store_of_a_newer_version_is_refused_with_a_sentence_and_left_as_it_is()
    {
        var job = await AddAsync();
        await ExecuteAsync($"UPDATE videos SET status = 'paused' WHERE id = '{(await AddAsync()).Id}'");
        await ExecuteAsync("UPDATE counters SET value = 99 WHERE name = 'schema'");

        var refused = await Assert.ThrowsAsync<ServiceException>(() => Store.InitializeAsync(Cancel));
        // One that was started before the tables were changed.
        await Assert.ThrowsAsync<ServiceException>(() => Store.LeaseAsync("a", Models, Long, Cancel));
        await Assert.ThrowsAsync<ServiceException>(() => Store.ListAsync(new Owner("me"), new VideoQuery(10), Cancel));

        FaultAssert.Is(refused, "queue_newer", ("version", 99L), ("known", JobSchema.Version));
        Assert.Equal(VideoStatus.Queued, (await Store.FindAsync(job.Id, Cancel))!.Status);
        Assert.Empty(await Store.UnreadableAsync(Cancel));
    }

    private protected async Task ExecuteAsync(string sql)
    {
        await using var session = await SqlSession.WriteAsync(dialect!, Cancel);
        await session.ExecuteAsync(sql, Cancel);
        await session.CommitAsync(Cancel);
    }
}
