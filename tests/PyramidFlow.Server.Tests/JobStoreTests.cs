using PyramidFlow.Generation;
using PyramidFlow.Models.Lora;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>What holds for the queue in every database.</summary>
public abstract partial class JobStoreTests : IAsyncLifetime
{
    private protected static readonly TimeSpan Long = TimeSpan.FromHours(1), Over = TimeSpan.FromMilliseconds(-1000);
    private protected static readonly string[] Models = ["sprites"];
    private SqlDialect? dialect;
    private SqlJobStore? store;

    private protected SqlJobStore Store => store!;

    private protected static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        dialect = await OpenAsync();
        store = new SqlJobStore(dialect, new LeaseRules(3, TimeSpan.Zero));
        await store.InitializeAsync(Cancel);
    }

    public virtual async ValueTask DisposeAsync()
    {
        if (store is not null)
            await store.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    private protected abstract Task<SqlDialect> OpenAsync();

    [Fact]
    public async Task Jobs_are_taken_in_the_order_they_came_and_only_once()
    {
        var first = await AddAsync();
        var second = await AddAsync();

        var taken = await Store.LeaseAsync("a", Models, Long, Cancel);
        var next = await Store.LeaseAsync("b", Models, Long, Cancel);

        Assert.Equal((first.Id, second.Id), (taken!.Id, next!.Id));
        Assert.Equal((VideoStatus.InProgress, 1), (taken.Job.Status, taken.Attempt));
        Assert.Null(await Store.LeaseAsync("c", Models, Long, Cancel));
    }

    [Fact]
    public async Task A_search_reads_only_what_may_be_meant()
    {
        var (one, other) = (await AddAsync(prompt: "Ein BÄR_ im Schnee"), await AddAsync(prompt: "a circle"));
        Assert.Empty((await Store.ListAsync(one.Owner, new VideoQuery { Words = "schnee" }, Cancel))!);
        for (var lease = await Store.LeaseAsync("a", Models, Long, Cancel); lease is not null; lease = await Store.LeaseAsync("a", Models, Long, Cancel))
            Assert.True(await Store.CompleteAsync(lease, new VideoResult(9, 1, 1, []), Cancel));
        await Store.MarkAsync(other.Id, true, Cancel);
        foreach (var (words, found) in new[] { ("SCHNEE bär_", one), ("Circle", other), ("triangle", null) })
            Assert.Equal(found?.Id, (await Store.ListAsync(one.Owner, new VideoQuery { Words = words }, Cancel))!.SingleOrDefault()?.Id);
        Assert.Equal(other.Id, Assert.Single((await Store.ListAsync(one.Owner, new VideoQuery { OnlyFavourites = true }, Cancel))!).Id);
    }

    [Fact]
    public async Task Workers_are_listed_while_they_are_announced()
    {
        await Store.AnnounceAsync(new WorkerEntry("b", ["sprites", "other"], 1), Cancel);
        await Store.AnnounceAsync(new WorkerEntry("a", [], 4), Cancel);
        await Store.AnnounceAsync(new WorkerEntry("b", ["sprites"], 2), Cancel);
        var workers = await Store.WorkersAsync(Long, Cancel);
        Assert.Equal([("a", "", 4), ("b", "sprites", 2)], workers.Select(worker => (worker.Name, string.Join(' ', worker.Models), worker.Processes)));
        Assert.Empty(await Store.WorkersAsync(Over, Cancel));

        await Store.WithdrawAsync("a", Cancel);
        Assert.Equal("b", Assert.Single(await Store.WorkersAsync(Long, Cancel)).Name);
        await Store.PurgeAsync(Over, Cancel);
        Assert.Empty(await Store.WorkersAsync(Long, Cancel));
    }

    [Fact]
    public async Task A_worker_takes_only_jobs_whose_model_it_has()
    {
        await AddAsync();

        Assert.Null(await Store.LeaseAsync("a", ["other"], Long, Cancel));
        Assert.Null(await Store.LeaseAsync("a", [], Long, Cancel));
        Assert.NotNull(await Store.LeaseAsync("a", ["other", "sprites"], Long, Cancel));
    }

    [Fact]
    public async Task A_worker_takes_only_jobs_whose_LoRAs_it_has_all_and_passes_over_the_others()
    {
        var both = await AddAsync(loras: ["style", "panda"]);
        var one = await AddAsync(loras: ["style", "style"]);
        var none = await AddAsync();

        Assert.Equal(["panda style", "style", ""], (await Store.QueueAsync(Cancel)).Select(entry => string.Join(' ', entry.Loras)));
        Assert.Equal(one.Id, (await Store.LeaseAsync("a", Models, Long, Cancel, ["style", "other"]))!.Id);
        Assert.Equal(none.Id, (await Store.LeaseAsync("a", Models, Long, Cancel))!.Id);
        Assert.Null(await Store.LeaseAsync("a", Models, Long, Cancel, ["style", "other"]));
        Assert.Equal(both.Id, (await Store.LeaseAsync("a", Models, Long, Cancel, ["style", "panda"]))!.Id);

        await Store.AnnounceAsync(new WorkerEntry("a", Models, 1) { Loras = ["style"] }, Cancel);
        var worker = Assert.Single(await Store.WorkersAsync(Long, Cancel));
        Assert.Equal([false, true, true], (await Store.QueueAsync(Cancel)).Select(worker.CanMake));
    }

    [Fact]
    public async Task With_500_jobs_of_one_key_a_job_of_another_begins_next_and_its_place_says_so()
    {
        var first = await AddAsync(owner: "many");
        await ExecuteAsync($"""
            INSERT INTO videos (id, owner, seq, revision, status, model, work, created, request)
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 499)
            SELECT 'video_' || SUBSTR(CAST(1000 + n.i AS TEXT) || '{new string('0', 32)}', 1, 32), owner, seq + n.i, revision, status, model, work, created, request FROM n, videos WHERE id = '{first.Id}'
            """);
        await ExecuteAsync("UPDATE counters SET value = 500 WHERE name = 'revision'");
        Assert.Equal(500, (await Store.QueueAsync(Cancel)).Count);
        Assert.Equal(first.Id, (await Store.LeaseAsync("a", Models, Long, Cancel))!.Id);
        var (late, later) = (await AddAsync(owner: "few"), await AddAsync(owner: "few"));
        var third = await AddAsync(owner: "third");

        // Each place is the one in which the job is taken.
        List<string> waiting = [.. (await Store.QueueAsync(Cancel)).Where(entry => !entry.Runs).Select(entry => entry.Id)];
        Assert.Equal([late.Id, third.Id], waiting[..2]);
        Assert.Equal(3, waiting.IndexOf(later.Id));
        foreach (var id in waiting[..6])
            Assert.Equal(id, (await Store.LeaseAsync("a", Models, Long, Cancel))!.Id);
        // The other key is served since, so that this one is next again.
        Assert.Equal((await AddAsync(owner: "few")).Id, (await Store.LeaseAsync("b", Models, Long, Cancel))!.Id);
    }

    [Fact]
    public async Task A_key_may_have_so_many_jobs_a_day_whether_they_are_deleted_or_not()
    {
        await Store.DeleteAsync((await AddAsync(mostPerDay: 2)).Id, Cancel);
        await AddAsync("key", mostPerDay: 2);
        var refused = await Assert.ThrowsAsync<JobException>(() => AddAsync(mostPerDay: 2));
        Assert.Equal(("too_many_today", JobFaultKind.RateLimit), (refused.Code, refused.Kind));
        Assert.InRange(refused.RetryAfterSeconds!.Value, 24 * 3600 - 600, 24 * 3600);
        // The same before anything is added, which counts nothing.
        var early = await Assert.ThrowsAsync<JobException>(() => Store.CheckDayAsync(new Owner("me"), 2, Cancel));
        Assert.Equal("too_many_today", early.Code);
        await Store.CheckDayAsync(new Owner("me"), 3, Cancel);
        await Store.CheckDayAsync(new Owner("me"), int.MaxValue, Cancel);
        // A repeated request is none, another key has its own day, and the next day begins anew.
        await AddAsync("key", mostPerDay: 2);
        await AddAsync(owner: "somebody else", mostPerDay: 2);
        await ExecuteAsync("UPDATE days SET since = since - 86400001");
        await Store.CheckDayAsync(new Owner("me"), 2, Cancel);
        await AddAsync(mostPerDay: 2);
        await AddAsync(mostPerDay: 2);
        await Assert.ThrowsAsync<JobException>(() => AddAsync(mostPerDay: 2));
    }

    [Fact]
    public async Task Many_workers_at_once_get_each_job_once()
    {
        for (var i = 0; i < 20; i++)
            await AddAsync();

        var taken = await Task.WhenAll(Enumerable.Range(0, 8).Select(worker => Task.Run(async () =>
        {
            var mine = new List<string>();
            while (await Store.LeaseAsync($"worker {worker}", Models, Long, Cancel) is { } lease)
                mine.Add(lease.Id);
            return mine;
        })));

        Assert.Equal(20, taken.SelectMany(ids => ids).Distinct().Count());
        Assert.Equal(20, taken.Sum(ids => ids.Count));
    }

    [Fact]
    public async Task A_lease_that_ran_out_puts_the_job_back_and_its_old_worker_can_no_longer_end_it()
    {
        var job = await AddAsync();
        var lost = await Store.LeaseAsync("a", Models, Over, Cancel);

        Assert.Equal(1, await Store.ReapAsync(Cancel));
        var again = await Store.LeaseAsync("b", Models, Long, Cancel);

        Assert.Equal((job.Id, 2), (again!.Id, again.Attempt));
        Assert.False(await Store.RenewAsync(lost!, null, Long, Cancel));
        Assert.False(await Store.CompleteAsync(lost!, Result, Cancel));
        Assert.True(await Store.CompleteAsync(again, Result, Cancel));
        Assert.False(await Store.CompleteAsync(again, Result, Cancel));
        Assert.Equal(VideoStatus.Completed, (await Store.FindAsync(job.Id, Cancel))!.Status);
    }

    [Fact]
    public async Task A_job_whose_workers_die_three_times_fails_with_a_reason()
    {
        var job = await AddAsync();
        for (var attempt = 1; attempt <= 3; attempt++)
        {
            Assert.NotNull(await Store.LeaseAsync("a", Models, Over, Cancel));
            await Store.ReapAsync(Cancel);
        }

        var failed = await Store.FindAsync(job.Id, Cancel);
        Assert.Equal((VideoStatus.Failed, VideoError.Abandoned), (failed!.Status, failed.Error!.Code));
        Assert.Null(await Store.LeaseAsync("a", Models, Long, Cancel));
    }

    [Fact]
    public async Task An_attempt_that_finished_a_further_unit_does_not_count_and_one_that_repeats_units_does()
    {
        var (error, job) = (new VideoError(VideoError.Storage, "the disk is full"), await AddAsync());
        // Each worker finishes one unit more and dies; the failure of one counts as little.
        for (var unit = 1; unit <= 4; unit++)
        {
            await Store.RenewAsync((await Store.LeaseAsync("a", Models, Over, Cancel))!, Made(unit), Over, Cancel);
            Assert.Equal(1, await Store.ReapAsync(Cancel));
        }

        var failing = (await Store.LeaseAsync("a", Models, Long, Cancel))!;
        await Store.RenewAsync(failing, Made(5), Long, Cancel);
        await Store.FailAsync(failing, error, retry: true, Cancel);
        Assert.Equal(VideoStatus.Queued, (await Store.FindAsync(job.Id, Cancel))!.Status);

        // A folder that is not shared lets each attempt begin anew: what was finished before is no progress.
        for (var attempt = 1; attempt <= 3; attempt++)
        {
            Assert.Equal(VideoStatus.Queued, (await Store.FindAsync(job.Id, Cancel))!.Status);
            await Store.RenewAsync((await Store.LeaseAsync("a", Models, Over, Cancel))!, Made(5), Over, Cancel);
            await Store.ReapAsync(Cancel);
        }

        Assert.Equal((VideoStatus.Failed, 8), await Store.FindAsync(job.Id, Cancel) is { } failed ? (failed.Status, failed.Attempt) : default);

        static VideoProgress Made(int units) => new(0.5, Generation.GenerationPhase.Denoising) { FinishedUnits = units };
    }

    [Fact]
    public async Task A_failure_that_may_pass_is_tried_again_and_another_is_not()
    {
        var (passing, lasting) = (await AddAsync(), await AddAsync());
        var error = new VideoError(VideoError.Storage, "the disk is full");
        await Store.FailAsync((await Store.LeaseAsync("a", Models, Long, Cancel))!, error, retry: true, Cancel);
        var taken = await Store.LeaseAsync("a", Models, Long, Cancel);
        Assert.Equal((passing.Id, 2), (taken!.Id, taken.Attempt));
        await Store.FailAsync((await Store.LeaseAsync("a", Models, Long, Cancel))!, error, retry: false, Cancel);

        Assert.Equal(error, (await Store.FindAsync(lasting.Id, Cancel))!.Error);
        Assert.Equal(VideoStatus.Failed, (await Store.FindAsync(lasting.Id, Cancel))!.Status);
    }

    [Fact]
    public async Task A_released_job_waits_again_without_having_been_tried()
    {
        await AddAsync();
        Assert.True(await Store.ReleaseAsync((await Store.LeaseAsync("a", Models, Long, Cancel))!, Cancel));

        Assert.Equal(1, (await Store.LeaseAsync("b", Models, Long, Cancel))!.Attempt);
    }

    [Fact]
    public async Task A_cancelled_job_is_no_longer_its_workers()
    {
        var job = await AddAsync();
        var lease = await Store.LeaseAsync("a", Models, Long, Cancel);
        await Store.CancelAsync(job.Id, new VideoError(VideoError.Cancelled, "you cancelled it"), Cancel);

        Assert.False(await Store.RenewAsync(lease!, null, Long, Cancel));
        Assert.Equal(VideoError.Cancelled, (await Store.FindAsync(job.Id, Cancel))!.Error!.Code);
    }

    [Fact]
    public async Task A_deleted_job_is_gone_but_its_going_is_told()
    {
        var job = await AddAsync();
        var before = await Store.RevisionAsync(Cancel);
        await Store.DeleteAsync(job.Id, Cancel);

        Assert.Null(await Store.FindAsync(job.Id, Cancel));
        var change = Assert.Single(await Store.ChangesAsync(before, Cancel));
        Assert.Equal((job.Id, null), (change.Id, change.Job));
        await Store.PurgeAsync(Over, Cancel);
        Assert.Empty(await Store.ChangesAsync(before, Cancel));
    }

    [Fact]
    public async Task An_idempotency_key_gives_the_same_job_again_and_refuses_another_use()
    {
        var first = await AddAsync("key", "same");
        var again = await AddAsync("key", "same");
        var other = await Assert.ThrowsAsync<JobException>(() => AddAsync("key", "different"));

        Assert.Equal(first.Id, again.Id);
        FaultAssert.Is(other, "idempotency_key_used");
        Assert.NotEqual(first.Id, (await AddAsync("key", "same", owner: "somebody else")).Id);
    }

    [Fact]
    public async Task No_more_jobs_than_allowed_wait_even_when_asked_for_at_once()
    {
        var added = await Task.WhenAll(Enumerable.Range(0, 12).Select(async _ =>
        {
            try
            {
                await AddAsync(most: 5);
                return true;
            }
            catch (JobException e) when (e.Code == "too_many_active")
            {
                return false;
            }
        }));

        Assert.Equal(5, added.Count(was => was));
    }

    [Fact]
    public async Task An_owner_makes_no_more_requests_in_a_minute_than_allowed_even_at_once()
    {
        var counted = await Task.WhenAll(Enumerable.Range(0, 12).Select(_ => CountsAsync("me", 5)));
        Assert.Equal(5, counted.Count(was => was));
        var refused = await Assert.ThrowsAsync<JobException>(() => Store.CheckRequestsAsync(new Owner("me"), 5, Cancel));
        FaultAssert.Is(refused, "too_many_requests", ("seconds", refused.RetryAfterSeconds));
        Assert.InRange(refused.RetryAfterSeconds!.Value, 1, 60);
        Assert.True(await CountsAsync("me", 6));
        Assert.True(await CountsAsync("somebody else", 5));

        // A minute later, and with a clock that was set back meanwhile.
        foreach (var shift in new[] { -60_000, 7_200_000 })
        {
            await using (var session = await SqlSession.WriteAsync(dialect!, Cancel))
            {
                await session.ExecuteAsync("UPDATE requests SET since = since + @shift", Cancel, ("shift", (long)shift));
                await session.CommitAsync(Cancel);
            }

            await Store.CheckRequestsAsync(new Owner("me"), 1, Cancel);
            Assert.True(await CountsAsync("me", 1));
            Assert.False(await CountsAsync("me", 1));
        }
    }

    [Fact]
    public async Task Lists_go_through_an_owners_jobs_from_either_end()
    {
        var jobs = new List<VideoJob>();
        for (var i = 0; i < 5; i++)
            jobs.Add(await AddAsync());
        await AddAsync(owner: "somebody else");
        var ids = jobs.ConvertAll(job => job.Id);

        var newest = await Store.ListAsync(new Owner("me"), new VideoQuery(2), Cancel);
        var rest = await Store.ListAsync(new Owner("me"), new VideoQuery(10, newest![1].Id), Cancel);
        var oldest = await Store.ListAsync(new Owner("me"), new VideoQuery(10, OldestFirst: true), Cancel);

        Assert.Equal([ids[4], ids[3], ids[2]], newest.Select(job => job.Id));
        Assert.Equal([ids[2], ids[1], ids[0]], rest!.Select(job => job.Id));
        Assert.Equal(ids, oldest!.Select(job => job.Id));
        Assert.Null(await Store.ListAsync(new Owner("me"), new VideoQuery(2, VideoId.New()), Cancel));
    }

    [Fact]
    public async Task Progress_is_kept_and_told_as_a_change()
    {
        var job = await AddAsync();
        var lease = await Store.LeaseAsync("a", Models, Long, Cancel);
        var before = await Store.RevisionAsync(Cancel);
        var progress = new VideoProgress(0.5, GenerationPhase.Denoising, 1, 2, 2, 3, 4, 5) { SecondsLeft = 7.5, Preview = 2, LiveFrames = 1 };
        await Store.RenewAsync(lease!, progress, Long, Cancel);

        Assert.Equal(progress, (await Store.FindAsync(job.Id, Cancel))!.Progress);
        Assert.Equal(job.Id, Assert.Single(await Store.ChangesAsync(before, Cancel)).Id);
        var entry = Assert.Single(await Store.QueueAsync(Cancel));
        Assert.Equal((true, 7.5), (entry.Runs, entry.SecondsLeft));
    }

    private async Task<bool> CountsAsync(string owner, int most)
    {
        try
        {
            await Store.CountRequestAsync(new Owner(owner), most, Cancel);
            return true;
        }
        catch (JobException e) when (e.Code == "too_many_requests")
        {
            return false;
        }
    }

    private static VideoResult Result => new(9, 1234, 1.5, ["a sentence"]);

    private protected async Task<VideoJob> AddAsync(string? key = null, string? fingerprint = null, string owner = "me", int most = int.MaxValue, string[]? loras = null, int mostPerDay = int.MaxValue, string prompt = "a red circle") =>
        (await Store.AddAsync(new NewJob(VideoId.New(), new Owner(owner), new VideoRequest { Prompt = prompt, Model = "sprites", Frames = 9, Width = 128, Height = 128, Seed = 7, Loras = loras?.Select(name => new LoraUse(name)).ToList() })
        {
            IdempotencyKey = key,
            Fingerprint = fingerprint,
            MaxActive = most,
            MaxPerDay = mostPerDay,
        }, Cancel)).Job;
}

public sealed class SqliteJobStoreTests : JobStoreTests
{
    private readonly TemporaryFolder folder = new();

    private protected override Task<SqlDialect> OpenAsync() => Task.FromResult<SqlDialect>(new SqliteDialect(folder.File("jobs.db")));

    // As many values as no query of this database takes.
    [Fact]
    public async Task As_many_sets_of_LoRAs_as_users_think_of_keep_no_worker_from_its_job()
    {
        const int sets = 33_000;
        var first = await AddAsync(loras: ["0"]);
        await ExecuteAsync($"""
            INSERT INTO videos (id, owner, seq, revision, status, model, loras, work, created, request)
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {sets})
            SELECT 'video_' || SUBSTR(CAST(100000 + n.i AS TEXT) || '{new string('0', 32)}', 1, 32), owner, seq + n.i, revision, status, model, CAST(n.i AS TEXT), work, created, request FROM n, videos WHERE id = '{first.Id}'
            """);
        var named = Enumerable.Range(0, sets + 1).Select(i => i.ToString(System.Globalization.CultureInfo.InvariantCulture)).ToHashSet();
        Assert.Equal(first.Id, (await Store.LeaseAsync("a", Models, Long, Cancel, named))!.Id);
    }

    // Columns of other databases do not take such values.
    [Theory]
    [InlineData("attempt = 5000000000")]
    [InlineData("attempt = -1e300")]
    [InlineData("attempt = 'often', created = 1e300, completed = 'once', request = '{'")]
    public Task An_entry_with_numbers_beyond_all_bounds_is_set_aside_once(string damage) => IsSetAsideAsync(damage, damage.Contains("request", StringComparison.Ordinal) ? "request: " : "out of range");

    [Theory]
    [InlineData("NULL")]
    [InlineData("x'00'")]
    public async Task An_entry_without_an_id_at_the_head_of_the_queue_keeps_nobody_waiting(string id)
    {
        var damaged = await AddAsync();
        var before = await Store.RevisionAsync(Cancel);
        await ExecuteAsync($"UPDATE videos SET id = {id}, revision = revision + 1 WHERE id = '{damaged.Id}'");
        var whole = await AddAsync(most: 1);

        Assert.Equal(whole.Id, Assert.Single(await Store.QueueAsync(Cancel)).Id);
        Assert.Equal(whole.Id, Assert.Single(await Store.StatesAsync(Cancel)).Key);
        Assert.Equal(whole.Id, Assert.Single((await Store.ListAsync(new Owner("me"), new VideoQuery(10), Cancel))!).Id);
        Assert.Equal(whole.Id, Assert.Single(await Store.ChangesAsync(before, Cancel)).Id);
        Assert.Equal(whole.Id, (await Store.LeaseAsync("a", Models, Long, Cancel))!.Id);
        Assert.Null(await Store.LeaseAsync("a", Models, Long, Cancel));
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        folder.Dispose();
    }
}

public sealed class PostgresJobStoreTests(PostgresCluster cluster) : JobStoreTests, IClassFixture<PostgresCluster>
{
    private protected override async Task<SqlDialect> OpenAsync()
    {
        cluster.SkipUnlessThere();
        var dialect = new PostgresDialect(cluster.Connection);
        await using var session = await SqlSession.ReadAsync(dialect, TestContext.Current.CancellationToken);
        await session.ExecuteAsync("DROP TABLE IF EXISTS videos; DROP TABLE IF EXISTS counters; DROP TABLE IF EXISTS requests; DROP TABLE IF EXISTS workers; DROP TABLE IF EXISTS turns; DROP TABLE IF EXISTS webhooks; DROP TABLE IF EXISTS days", TestContext.Current.CancellationToken);
        return dialect;
    }
}
