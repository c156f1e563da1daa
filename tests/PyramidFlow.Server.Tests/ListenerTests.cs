using Microsoft.Extensions.DependencyInjection;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Tests;

/// <summary>Who watches and goes away in the middle costs nothing afterwards, and the video is made all the same.</summary>
public sealed class ListenerTests : StartedServer
{
    [Fact]
    public async Task A_listener_that_hangs_up_in_the_middle_of_the_events_is_forgotten()
    {
        var feed = Server.Services.GetRequiredService<JobFeed>();
        var id = await Server.SubmitAsync(TestServer.Slow);
        var listeners = new List<Stream>();
        for (var i = 0; i < 5; i++)
            listeners.Add(await Server.Client.GetStreamAsync($"/v1/videos/{id}/events", Cancel));
        foreach (var listener in listeners)
            await listener.ReadAtLeastAsync(new byte[100], 100, cancellationToken: Cancel);
        Assert.Equal(5, feed.Watchers);

        foreach (var listener in listeners)
            await listener.DisposeAsync();

        while (feed.Watchers > 0)
            await Task.Delay(20, Cancel);
        await GoesOnAsync(id);
    }

    [Fact]
    public async Task A_viewer_that_hangs_up_in_the_middle_of_the_video_lets_go_of_its_file()
    {
        var id = await Server.SubmitAsync(new { prompt = "a small red circle", num_frames = 193, num_inference_steps = 40 });
        await Server.UntilAsync(id, video => video.GetProperty("stage") is { ValueKind: System.Text.Json.JsonValueKind.Object } stage && stage.GetProperty("live_frames").GetInt32() > 0);
        Assert.SkipUnless(Directory.Exists("/proc/self/fd"), "open files are counted by /proc");
        var written = OpenFiles(id);
        var viewer = await Server.Client.GetStreamAsync($"/v1/videos/{id}/stream", Cancel);
        await viewer.ReadAtLeastAsync(new byte[500], 500, cancellationToken: Cancel);
        Assert.Equal(written + 1, OpenFiles(id));

        await viewer.DisposeAsync();

        while (OpenFiles(id) > written)
            await Task.Delay(20, Cancel);
        await GoesOnAsync(id);
    }

    private async Task GoesOnAsync(string id)
    {
        var before = await Server.GetAsync($"/v1/videos/{id}");
        Assert.Equal("in_progress", before.GetProperty("status").GetString());
        await Server.UntilAsync(id, video => video.GetProperty("progress").GetInt32() > before.GetProperty("progress").GetInt32());
        await Server.PostAsync(new { }, $"/v1/videos/{id}/cancel");
    }

    private static int OpenFiles(string id) => new DirectoryInfo("/proc/self/fd").EnumerateFileSystemInfos()
        .Count(handle => handle.LinkTarget is { } target && target.Contains(id, StringComparison.Ordinal) && target.EndsWith(".live.mp4", StringComparison.Ordinal));
}
