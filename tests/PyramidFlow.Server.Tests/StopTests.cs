using System.Text;
using System.Text.Json;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Domain;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>A server that is told to stop in the midst of its work.</summary>
public sealed class StopTests : IDisposable
{
    private readonly TemporaryFolder data = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => data.Dispose();

    [Fact]
    public async Task Listeners_are_told_the_running_video_goes_back_into_the_queue_and_no_other_is_begun()
    {
        string running, waiting;
        var events = new List<Task<string>>();
        var server = await TestServer.StartAsync(data: data.Path);
        try
        {
            running = await server.SubmitAsync(new { prompt = "a small red circle", num_frames = 193, num_inference_steps = 200 });
            waiting = await server.SubmitAsync(TestServer.Quick);
            await server.UntilAsync(running, video => video.GetProperty("stage").ValueKind == JsonValueKind.Object);
            for (var i = 0; i < 10; i++)
            {
                var stream = await server.Client.GetStreamAsync($"/v1/videos/{(i % 2 == 0 ? running : waiting)}/events", Cancel);
                events.Add(new StreamReader(stream, Encoding.UTF8).ReadToEndAsync(Cancel));
            }

            await server.StopAsync();
        }
        finally
        {
            await server.DisposeAsync();
        }

        foreach (var text in await Task.WhenAll(events))
        {
            Assert.EndsWith("event: stopping\ndata: {}\n\n", text, StringComparison.Ordinal);
            Assert.DoesNotContain("event: deleted", text, StringComparison.Ordinal);
        }

        await using var store = new SqlJobStore(new SqliteDialect(new VideoFolder(data.Path).Database), new LeaseRules(3, TimeSpan.Zero));
        foreach (var id in (string[])[running, waiting])
            Assert.Equal((VideoStatus.Queued, 0), (await store.FindAsync(id, Cancel))! is var job ? (job.Status, job.Attempt) : default);
    }

    [Fact]
    public async Task A_streamed_video_is_cut_off_and_not_ended_as_if_it_were_whole()
    {
        var server = await TestServer.StartAsync(data: data.Path);
        try
        {
            var id = await server.SubmitAsync(new { prompt = "a small red circle", num_frames = 193, num_inference_steps = 60 });
            await server.UntilAsync(id, video => video.GetProperty("stage") is { ValueKind: JsonValueKind.Object } stage && stage.GetProperty("live_frames").GetInt32() > 0);
            using var stream = await server.Client.GetStreamAsync($"/v1/videos/{id}/stream", Cancel);
            await stream.ReadAtLeastAsync(new byte[500], 500, cancellationToken: Cancel);

            await server.StopAsync();

            await Assert.ThrowsAnyAsync<Exception>(() => stream.CopyToAsync(Stream.Null, Cancel));
        }
        finally
        {
            await server.DisposeAsync();
        }
    }
}
