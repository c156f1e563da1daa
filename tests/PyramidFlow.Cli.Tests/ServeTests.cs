using System.Net;
using Microsoft.Data.Sqlite;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary>A server as a process of its own, through what it meets in use.</summary>
public sealed class ServeTests(TinyModel model) : IClassFixture<TinyModel>, IDisposable
{
    private static readonly object Quick = new { prompt = "a red ball", num_frames = 9, num_inference_steps = 1, seed = 7 };
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_signal_ends_the_events_and_gives_the_running_video_back()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "signals are sent with kill");
        string running, waiting;
        using (var serve = ServeProcess.Start("serve", "--data", folder.Path, "--model", model.Folder, "--port", "0", "--threads", "1"))
        {
            using var client = await serve.ClientAsync();
            running = await ServeProcess.SubmitAsync(client, new { prompt = "a red ball", num_frames = 121, num_inference_steps = 200 });
            waiting = await ServeProcess.SubmitAsync(client, Quick);
            await ServeProcess.UntilAsync(client, running, video => video.GetProperty("status").GetString() == "in_progress");
            var events = new List<Task<string>>();
            for (var i = 0; i < 5; i++)
                events.Add(new StreamReader(await client.GetStreamAsync($"/v1/videos/{running}/events", Cancel)).ReadToEndAsync(Cancel));

            serve.Terminate();

            Assert.All(await Task.WhenAll(events), text => Assert.EndsWith("event: stopping\ndata: {}\n\n", text, StringComparison.Ordinal));
            Assert.Equal(ExitCode.Ok, await serve.ExitedAsync());
            Assert.Equal(1, serve.Said.Split("begins").Length - 1);
        }

        Assert.Equal([(running, "queued", 0L), (waiting, "queued", 0L)], await RowsAsync("SELECT id, status, attempt FROM videos ORDER BY seq", row => (row.GetString(0), row.GetString(1), row.GetInt64(2))));
    }

    [Fact]
    public async Task What_cannot_be_stopped_in_time_goes_back_into_the_queue_all_the_same()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "a pipe stands in for files that are read for ever");
        var copy = await model.WithSilentWeightsAsync(folder, Cancel);
        string id;
        using (var serve = ServeProcess.Start("serve", "--data", folder.Path, "--model", copy, "--port", "0"))
        {
            using var client = await serve.ClientAsync();
            id = await ServeProcess.SubmitAsync(client, Quick);
            await ServeProcess.UntilAsync(client, id, video => video.GetProperty("stage").ValueKind == System.Text.Json.JsonValueKind.Object);

            serve.Terminate();

            Assert.Equal(ExitCode.Ok, await serve.ExitedAsync());
            Assert.Contains("could not be stopped in time", serve.Said, StringComparison.Ordinal);
        }

        Assert.Equal([(id, "queued", 0L)], await RowsAsync("SELECT id, status, attempt FROM videos", row => (row.GetString(0), row.GetString(1), row.GetInt64(2))));
    }

    [Fact]
    public async Task A_server_outlives_a_model_folder_that_comes_and_goes_and_five_damaged_entries()
    {
        var (here, away) = (folder.File("model"), folder.File("away"));
        Directory.CreateSymbolicLink(here, model.Folder);
        using var serve = ServeProcess.Start("serve", "--data", folder.File("data"), "--model", here, "--port", "0", "--threads", "1");
        using var client = await serve.ClientAsync();
        var damaged = new List<string>();
        for (var i = 0; i < 5; i++)
        {
            damaged.Add(await ServeProcess.SubmitAsync(client, Quick));
            await ServeProcess.UntilAsync(client, damaged[i], video => video.GetProperty("status").GetString() == "completed");
        }

        Directory.Move(here, away);
        await ServeProcess.WaitAsync("a server without its model is not ready", async () => (await client.GetAsync("/health/ready", Cancel)).StatusCode == HttpStatusCode.ServiceUnavailable, () => serve.Said);
        foreach (var (i, damage) in ((string[])["request = '{'", "status = 'paused'", "request = 'null'", "progress = '[]', status = 'queued'", "created = 9223372036854775807"]).Index())
            await ExecuteAsync($"UPDATE videos SET {damage}, revision = (SELECT MAX(revision) FROM videos) + 1 WHERE id = '{damaged[i]}'");
        await ExecuteAsync("UPDATE counters SET value = (SELECT MAX(revision) FROM videos) WHERE name = 'revision'");
        Directory.Move(away, here);

        await ServeProcess.WaitAsync("the server is ready again and tells of 5 entries", async () => await client.GetAsync("/health/ready", Cancel) is { StatusCode: HttpStatusCode.OK } ready
            && (await ready.Content.ReadAsStringAsync(Cancel)).Contains("5 entries", StringComparison.Ordinal), () => serve.Said);
        var made = await ServeProcess.SubmitAsync(client, Quick);
        var video = await ServeProcess.UntilAsync(client, made, video => video.GetProperty("status").GetString() is "completed" or "failed");
        Assert.Equal("completed", video.GetProperty("status").GetString());
        var list = System.Text.Json.JsonDocument.Parse(await client.GetStringAsync("/v1/videos?limit=100", Cancel)).RootElement.GetProperty("data").EnumerateArray().ToList();
        Assert.Equal(6, list.Count);
        Assert.Equal(5, list.Count(entry => entry.GetProperty("status").GetString() == "failed" && entry.GetProperty("error").GetProperty("code").GetString() == "unreadable"));
        Assert.Contains("pyramidflow_queue_unreadable", await client.GetStringAsync("/metrics", Cancel), StringComparison.Ordinal);
        Assert.All(damaged, id => Assert.Contains($"{id}: its entry in the queue cannot be read", serve.Said, StringComparison.Ordinal));

        // The next start finds them set aside, and names them again.
        serve.Terminate();
        Assert.Equal(ExitCode.Ok, await serve.ExitedAsync());
        using var again = ServeProcess.Start("serve", "--data", folder.File("data"), "--model", here, "--port", "0", "--threads", "1");
        await again.ReadyAsync();
        Assert.All(damaged, id => Assert.Contains(id, again.Said, StringComparison.Ordinal));
    }

    private async Task<List<T>> RowsAsync<T>(string sql, Func<SqliteDataReader, T> read)
    {
        await using var database = await OpenAsync(folder.File("jobs.db"));
        await using var command = database.CreateCommand();
        command.CommandText = sql;
        await using var reader = await command.ExecuteReaderAsync(Cancel);
        var rows = new List<T>();
        while (await reader.ReadAsync(Cancel))
            rows.Add(read(reader));
        return rows;
    }

    private async Task ExecuteAsync(string sql)
    {
        await using var database = await OpenAsync(folder.File("data", "jobs.db"));
        await using var command = database.CreateCommand();
        command.CommandText = sql;
        await command.ExecuteNonQueryAsync(Cancel);
    }

    private static async Task<SqliteConnection> OpenAsync(string file)
    {
        var database = new SqliteConnection($"Data Source={file};Pooling=False");
        await database.OpenAsync(Cancel);
        return database;
    }
}
