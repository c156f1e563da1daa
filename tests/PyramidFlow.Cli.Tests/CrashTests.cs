using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary>
/// Processes are killed (kill -9) at random moments while they work. <c>PYRAMIDFLOW_CRASH_JOBS</c> asks for more than the few
/// jobs of the suite; there is a worker for each 10, at least 2, and a kill for each job.
/// </summary>
public class CrashTests(TinyModel model, PostgresCluster cluster) : IClassFixture<TinyModel>, IClassFixture<PostgresCluster>
{
    private static readonly int Jobs = int.TryParse(Environment.GetEnvironmentVariable("PYRAMIDFLOW_CRASH_JOBS"), CultureInfo.InvariantCulture, out var jobs) ? jobs : 4;
    private static readonly int Workers = Math.Max(2, Jobs / 10);
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(20);

    [Fact]
    public async Task Whatever_is_killed_every_accepted_video_ends_once_and_no_file_is_left_over()
    {
        cluster.SkipUnlessThere();
        using var folder = new TemporaryFolder();
        using var most = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        most.CancelAfter(Patience);
        var start = Stopwatch.GetTimestamp();
        var ids = new HashSet<string>();
        using (var fleet = new Fleet(model.Folder, folder.Path, cluster.Connection))
        {
            fleet.StartServer();
            for (var i = 0; i < Workers; i++)
                fleet.StartWorker(i);
            var killing = KillAsync(fleet, most.Token);
            using var client = new HttpClient { BaseAddress = new Uri(FormattableString.Invariant($"http://127.0.0.1:{fleet.Port}")) };
            for (var i = 0; i < Jobs; i++)
                ids.Add(await SubmitAsync(client, i, most.Token));
            await killing;
            await EndedAsync(most.Token);
        }

        await CheckAsync(folder.Path, ids, Stopwatch.GetElapsedTime(start), most.Token);
    }

    private static async Task KillAsync(Fleet fleet, CancellationToken cancel)
    {
        var random = new Random(7);
        for (var kill = 0; kill < Jobs; kill++)
        {
            await Task.Delay(random.Next(500, 5000), cancel);
            fleet.Restart(random.Next(-1, Workers));
        }
    }

    // Until it is accepted: a server that dies in the middle may have taken it or not, and the key makes both the same.
    private static async Task<string> SubmitAsync(HttpClient client, int number, CancellationToken cancel)
    {
        while (true)
        {
            try
            {
                using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/videos") { Content = JsonContent.Create(new { prompt = "a red ball", num_frames = 17, num_inference_steps = 30, seed = number }) };
                request.Headers.Add("Idempotency-Key", number.ToString(CultureInfo.InvariantCulture));
                using var response = await client.SendAsync(request, cancel);
                if (response.IsSuccessStatusCode)
                    return JsonDocument.Parse(await response.Content.ReadAsStringAsync(cancel)).RootElement.GetProperty("id").GetString()!;
            }
            catch (Exception e) when (e is HttpRequestException or IOException)
            {
                // It is being started again.
            }

            await Task.Delay(200, cancel);
        }
    }

    private async Task EndedAsync(CancellationToken cancel)
    {
        await using var store = Store();
        while ((await store.QueueAsync(cancel)).Count > 0)
            await Task.Delay(500, cancel);
    }

    private async Task CheckAsync(string data, HashSet<string> ids, TimeSpan time, CancellationToken cancel)
    {
        await using var store = Store();
        var jobs = await store.ListAsync(Owner.Local, new VideoQuery(1000), cancel);
        Assert.Equal(ids.Order(StringComparer.Ordinal), jobs!.Select(job => job.Id).Order(StringComparer.Ordinal));
        Assert.Equal(Jobs, ids.Count);
        Assert.All(jobs!, job => Assert.True(job.Status == VideoStatus.Completed || job is { Status: VideoStatus.Failed, Error.Message.Length: > 0 }, $"{job.Id} is {job.Status}"));

        var folder = new VideoFolder(data);
        await new FileCleanup(store, folder, new RetentionRules()).SweepAsync(TimeSpan.FromSeconds(-1), cancel);
        var expected = jobs!.Where(job => job.Status == VideoStatus.Completed)
            .SelectMany(job => (string[])[folder.Video(job.Id, job.Attempt), folder.Thumbnail(job.Id, job.Attempt), folder.Spritesheet(job.Id, job.Attempt), folder.LastFrame(job.Id, job.Attempt)]);
        Assert.Equal(expected.Order(StringComparer.Ordinal), Directory.EnumerateFiles(folder.Videos, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal));
        Assert.Empty(Directory.EnumerateFiles(folder.Incoming));
        TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant(
            $"{jobs!.Count} jobs, {Workers} workers, {Jobs} kills, {time.TotalSeconds:F0} s: {jobs.Count(job => job.Status == VideoStatus.Completed)} completed, {jobs.Count(job => job.Attempt > 1)} of them or others begun more than once, {jobs.Count(job => job.Status == VideoStatus.Failed)} failed with a reason"));
    }

    private SqlJobStore Store() => new(new PostgresDialect(cluster.Connection), new LeaseRules(3, TimeSpan.FromSeconds(2)));
}
