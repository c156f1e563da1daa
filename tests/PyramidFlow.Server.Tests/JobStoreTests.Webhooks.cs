using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Tests;

/// <content>Announcements of ended videos.</content>
public abstract partial class JobStoreTests
{
    [Fact]
    public async Task The_end_of_a_video_is_announced_once_and_only_where_it_was_asked_for()
    {
        var silent = await AddToAsync(null);
        var made = await AddToAsync("https://hooks.example/made");
        var cancelled = await AddToAsync("https://hooks.example/cancelled");
        var deleted = await AddToAsync("https://hooks.example/deleted");
        await Store.DeleteAsync(deleted, Cancel);
        Assert.Null(await NextAsync(Long));

        foreach (var id in new[] { silent, made })
        {
            var lease = await Store.LeaseAsync("a", Models, Long, Cancel);
            Assert.Equal(id, lease!.Id);
            Assert.True(await Store.RenewAsync(lease, null, Long, Cancel));
            Assert.True(await Store.CompleteAsync(lease, new VideoResult(9, 1, 1, []), Cancel));
            Assert.False(await Store.CompleteAsync(lease, new VideoResult(9, 1, 1, []), Cancel));
        }

        var first = await NextAsync(Long);
        Assert.Equal((made, "https://hooks.example/made", "video.completed", 1), (first!.Video, first.Url, first.Type, first.Attempt));
        Assert.Null(await NextAsync(Long));
        await Store.CancelAsync(cancelled, ServiceFault.Cancelled(), Cancel);
        await Store.CancelAsync(cancelled, ServiceFault.Cancelled(), Cancel);

        // The next try is set when one begins, so that it comes although the process ends meanwhile.
        var (second, again) = (await NextAsync(TimeSpan.Zero), await NextAsync(Long));
        Assert.Equal((cancelled, "video.failed", 1), (second!.Video, second.Type, second.Attempt));
        Assert.Equal((second.Id, 2), (again!.Id, again.Attempt));
        Assert.Null(await NextAsync(Long));
        await Store.RemoveWebhookAsync(first.Id, Cancel);
        await Store.RemoveWebhookAsync(second.Id, Cancel);
        Assert.Null(await NextAsync(TimeSpan.Zero));

        Task<WebhookEvent?> NextAsync(TimeSpan pause) => Store.NextWebhookAsync([pause], [], Cancel);
    }

    [Fact]
    public async Task A_receiver_that_is_busy_is_passed_over_and_what_nobody_sends_is_removed_in_the_end()
    {
        string[] urls = ["https://HOOKS.example:443?a=1", "https://hooks.example/b", "https://hooks.example:8443/c", "https://hooks.example.org/d"];
        foreach (var url in urls)
            await Store.CancelAsync(await AddToAsync(url), ServiceFault.Cancelled(), Cancel);

        var passed = new List<string>();
        while (await Store.NextWebhookAsync([Long], ["https://hooks.example/"], Cancel) is { } next)
            passed.Add(next.Url);
        Assert.Equal(urls[2..].Order(StringComparer.Ordinal), passed.Order(StringComparer.Ordinal));
        Assert.Equal(0, await Store.PurgeWebhooksAsync(Long, Cancel));
        Assert.Equal("https://hooks.example/", WebhookRules.ReceiverOf((await Store.NextWebhookAsync([-2 * Long], [], Cancel))!.Url));
        Assert.Equal(1, await Store.PurgeWebhooksAsync(Long, Cancel));
        // Those that wait for their next try stay.
        Assert.Equal(1, await Store.PurgeWebhooksAsync(Over, Cancel));
        Assert.Null(await Store.NextWebhookAsync([TimeSpan.Zero], [], Cancel));
    }

    private async Task<string> AddToAsync(string? url)
    {
        var request = new VideoRequest { Prompt = "a", Model = Models[0], Width = 64, Height = 64, Frames = 9, Webhook = url };
        return (await Store.AddAsync(new NewJob(VideoId.New(), Owner.Local, request), Cancel)).Job.Id;
    }
}
