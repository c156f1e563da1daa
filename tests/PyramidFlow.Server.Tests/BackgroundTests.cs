using System.Net;
using System.Reflection;
using System.Text.Json;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>What works in the background goes on after any fault, and is told of while it does not.</summary>
public sealed class BackgroundTests : IDisposable
{
    private readonly TemporaryFolder data = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => data.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_service_outlives_a_model_folder_that_is_away_for_a_while_and_is_not_ready_meanwhile(bool findingThrows)
    {
        using var models = new TemporaryFolder();
        var (here, away) = (Path.Combine(models.Path, "sprites"), Path.Combine(models.Path, "away"));
        Directory.CreateSymbolicLink(here, Sprites.Folder);
        await using var server = await TestServer.StartAsync(options => options with
        {
            Models = () => Directory.Exists(here) || !findingThrows ? [new ModelFolder("sprites", here)] : throw new InvalidOperationException("there is nothing"),
        });
        var waiting = await server.SubmitAsync(TestServer.Slow);
        await server.PostAsync(new { }, $"/v1/videos/{waiting}/cancel");
        for (var round = 0; round < 2; round++)
        {
            Directory.Move(here, away);
            await StatusAsync(server, HttpStatusCode.ServiceUnavailable);
            var figures = await UntilAsync(server, "/metrics", text => text.Contains("part=\"making videos\"} 0", StringComparison.Ordinal));
            Assert.Contains("pyramidflow_background_working", figures, StringComparison.Ordinal);
            await TestServer.RefusedAsync(await server.Client.PostAsync("/v1/videos", Json("{\"prompt\": \"a circle\"}"), Cancel), HttpStatusCode.ServiceUnavailable,
                findingThrows ? "models_unreadable" : "model_unreadable");

            Directory.Move(away, here);
            await StatusAsync(server, HttpStatusCode.OK);
            Assert.Equal("completed", (await server.EndedAsync(await server.SubmitAsync(TestServer.Quick))).GetProperty("status").GetString());
        }
    }

    [Fact]
    public async Task A_default_model_that_is_away_is_not_replaced_by_another()
    {
        await using var server = await TestServer.StartAsync(options => options with
        {
            Models = () => [new ModelFolder("gone", "/nowhere/gone"), new ModelFolder("sprites", Sprites.Folder)],
        });

        await StatusAsync(server, HttpStatusCode.ServiceUnavailable);
        await TestServer.RefusedAsync(await server.Client.PostAsync("/v1/videos", Json("{\"prompt\": \"a circle\"}"), Cancel), HttpStatusCode.ServiceUnavailable, "model_unreadable", "model=gone");
        var other = await server.SubmitAsync(new { prompt = "a circle", model = "sprites", num_frames = 9, num_inference_steps = 1 });
        Assert.Equal("completed", (await server.EndedAsync(other)).GetProperty("status").GetString());
    }

    [Fact]
    public async Task The_care_of_the_queue_goes_on_after_faults_that_nobody_foresaw()
    {
        await using var store = await StoreAsync();
        var health = new BackgroundHealth();
        var faults = new TwoFaults(health);
        var flawed = FlawedStore.Over(store, name => name == nameof(IJobStore.ReapAsync) ? faults.Next(new InvalidOperationException("a fault")) : null);
        var rules = new LeaseRules(3, TimeSpan.Zero) { Length = TimeSpan.FromSeconds(1) };
        using var care = new QueueMaintenance(flawed, store, new JobSignals(), new FileCleanup(flawed, new VideoFolder(data.Path), new RetentionRules()), rules, health, NullLogger<QueueMaintenance>.Instance);

        await EndureAsync(care, health, faults);
    }

    [Fact]
    public async Task An_announcement_that_became_due_while_all_servers_were_off_is_not_removed_at_the_start()
    {
        await using var store = await StoreAsync();
        var request = new VideoRequest { Prompt = "a", Model = "sprites", Width = 64, Height = 64, Frames = 9, Webhook = "https://hooks.example/" };
        var job = (await store.AddAsync(new NewJob(VideoId.New(), Owner.Local, request), Cancel)).Job;
        await store.CancelAsync(job.Id, ServiceFault.Cancelled(), Cancel);
        Assert.Equal(job.Id, (await store.NextWebhookAsync([TimeSpan.FromDays(-3)], [], Cancel))?.Video);
        var (health, swept) = (new BackgroundHealth(), new TaskCompletionSource());
        var watched = FlawedStore.Over(store, name =>
        {
            if (name == nameof(IJobStore.StatesAsync))
                swept.TrySetResult();
            return null;
        });
        // What is removed for its age makes the sweep ask for states, after the announcements.
        var files = new FileCleanup(watched, new VideoFolder(data.Path), new RetentionRules(KeepDays: 1));
        using var care = new QueueMaintenance(watched, store, new JobSignals(), files, new LeaseRules(3, TimeSpan.Zero), health, NullLogger<QueueMaintenance>.Instance);

        await care.StartAsync(Cancel);
        await swept.Task.WaitAsync(Cancel);
        await care.StopAsync(Cancel);

        Assert.Equal(job.Id, (await store.NextWebhookAsync([TimeSpan.Zero], [], Cancel))?.Video);
    }

    [Fact]
    public async Task The_news_of_the_queue_go_on_after_faults_that_nobody_foresaw()
    {
        await using var store = await StoreAsync();
        var health = new BackgroundHealth();
        var faults = new TwoFaults(health);
        var flawed = FlawedStore.Over(store, name => name == nameof(IJobStore.RevisionAsync) ? faults.Next(new InvalidCastException("a fault")) : null);
        using var feed = new JobFeed(flawed, new JobSignals(), new LeaseRules(3, TimeSpan.Zero), new RetentionRules(), health, NullLogger<JobFeed>.Instance);

        await EndureAsync(feed, health, faults);
    }

    [Fact]
    public async Task The_watch_over_removed_keys_goes_on_after_faults_that_nobody_foresaw()
    {
        var keys = new ApiKeys(data.Path);
        keys.Add("alice");
        await using var store = await StoreAsync();
        var health = new BackgroundHealth();
        var faults = new TwoFaults(health);
        var flawed = FlawedStore.Over(store, name => name == nameof(IJobStore.ActiveOwnersAsync) ? faults.Next(new InvalidOperationException("a fault")) : null);
        using var watch = new KeyWatch(keys, flawed, new JobSignals(), health, NullLogger<KeyWatch>.Instance);

        await EndureAsync(watch, health, faults);
    }

    [Fact]
    public async Task A_loop_whose_store_becomes_newer_than_the_program_ends_the_process_with_a_sentence()
    {
        await using var store = await StoreAsync();
        var flawed = FlawedStore.Over(store, name => name == nameof(IJobStore.RevisionAsync) ? ServiceFault.QueueNewer(99, JobSchema.Version) : null);
        var health = new BackgroundHealth();
        using var feed = new JobFeed(flawed, new JobSignals(), new LeaseRules(3, TimeSpan.Zero), new RetentionRules(), health, NullLogger<JobFeed>.Instance);

        await feed.StartAsync(Cancel);

        FaultAssert.Is(await Assert.ThrowsAsync<ServiceException>(() => feed.ExecuteTask!), "queue_newer", ("version", 99L));
        Assert.Contains("newer version", health.Failure, StringComparison.Ordinal);
    }

    private async Task<SqlJobStore> StoreAsync()
    {
        var folder = new VideoFolder(data.Path);
        folder.Create();
        var store = new SqlJobStore(new SqliteDialect(folder.Database), new LeaseRules(3, TimeSpan.Zero));
        await store.InitializeAsync(Cancel);
        return store;
    }

    // No time is promised for what nobody makes.
    [Fact]
    public async Task A_video_without_a_worker_says_so_until_one_is_started()
    {
        using var folder = new TemporaryFolder();
        ServerOptions? used = null;
        await using var server = await TestServer.StartAsync(options => used = options with { RunsWorker = false }, folder.Path);
        var id = await server.SubmitAsync(TestServer.Quick);
        var waiting = await server.GetAsync($"/v1/videos/{id}");
        Assert.Equal("worker", waiting.GetProperty("waits_for").GetString());
        Assert.Equal(JsonValueKind.Null, waiting.GetProperty("seconds_left").ValueKind);
        Assert.Contains("no worker is running", await server.Client.GetStringAsync("/health/ready", Cancel), StringComparison.Ordinal);

        using var worker = VideoWorkers.Build(used!, logging => logging.AddConsole());
        await worker.StartAsync(Cancel);
        var made = await server.EndedAsync(id);
        Assert.Equal(("completed", JsonValueKind.Null), (made.GetProperty("status").GetString(), made.GetProperty("waits_for").ValueKind));
        Assert.Equal("ready", await UntilAsync(server, "/health/ready", text => !text.Contains("worker", StringComparison.Ordinal)));
        await worker.StopAsync(CancellationToken.None);
        await UntilAsync(server, "/health/ready", text => text.Contains("no worker is running", StringComparison.Ordinal));
    }

    // It says that it fails, then that it works again.
    private static async Task EndureAsync(BackgroundService loop, BackgroundHealth health, TwoFaults faults)
    {
        await loop.StartAsync(Cancel);
        await TestServer.UntilAsync(() => Task.FromResult(faults.Calls > 2 && health.Failure is null));
        Assert.Contains("a fault in this program", faults.Told, StringComparison.Ordinal);
        Assert.False(loop.ExecuteTask!.IsCompleted);
        await loop.StopAsync(CancellationToken.None);
    }

    private static StringContent Json(string text) => new(text, System.Text.Encoding.UTF8, "application/json");

    private static async Task StatusAsync(TestServer server, HttpStatusCode status)
    {
        await TestServer.UntilAsync(async () => (await server.Client.GetAsync("/health/ready", Cancel)).StatusCode == status);
    }

    private static async Task<string> UntilAsync(TestServer server, string path, Func<string, bool> holds)
    {
        var text = "";
        await TestServer.UntilAsync(async () => holds(text = await server.Client.GetStringAsync(path, Cancel)));
        return text;
    }

    // The first two calls fail. What is said of the first is looked at by the second, however short it lasts.
    private sealed class TwoFaults(BackgroundHealth health)
    {
        private int calls;

        public int Calls => Volatile.Read(ref calls);

        public string? Told { get; private set; }

        public Exception? Next(Exception fault)
        {
            if (calls == 1)
                Told = health.Failure;
            return Interlocked.Increment(ref calls) <= 2 ? fault : null;
        }
    }
}

/// <summary>A store of which some calls fail with an exception that nobody foresaw.</summary>
public class FlawedStore : DispatchProxy
{
    private IJobStore? store;
    private Func<string, Exception?> fault = _ => null;

    /// <param name="store">What does the work.</param>
    /// <param name="fault">The exception of a call by its name; null lets it through.</param>
    internal static IJobStore Over(IJobStore store, Func<string, Exception?> fault)
    {
        var proxy = Create<IJobStore, FlawedStore>();
        ((FlawedStore)(object)proxy).store = store;
        ((FlawedStore)(object)proxy).fault = fault;
        return proxy;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) => fault(targetMethod!.Name) is { } e ? throw e : targetMethod.Invoke(store, args);
}
