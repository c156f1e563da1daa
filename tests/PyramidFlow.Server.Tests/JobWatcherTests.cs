using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Tests;

public sealed class JobWatcherTests
{
    private const int Changes = 200_000;
    private static readonly string Id = VideoId.New();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_watcher_is_never_woken_for_nothing_and_hears_the_last_change()
    {
        var watcher = new JobWatcher(Owner.Local, Id);
        var telling = Task.Run(() =>
        {
            for (var i = 1; i <= Changes; i++)
                watcher.Tell(Owner.Local, new JobChange(Id, Job(i)));
        }, Cancel);

        for (var last = 0; last < Changes;)
        {
            var change = Assert.Single(await watcher.NextAsync(Cancel));
            Assert.InRange(change.Job!.Attempt, last + 1, Changes);
            last = change.Job.Attempt;
        }

        await telling;
    }

    [Fact]
    public async Task A_watcher_hears_of_its_owners_jobs_only()
    {
        var watcher = new JobWatcher(Owner.Local, null);
        watcher.Tell(new Owner("another"), new JobChange(Id, Job(1)));
        watcher.Tell(Owner.Local, new JobChange(Id, Job(2)));
        Assert.Equal(2, Assert.Single(await watcher.NextAsync(Cancel)).Job!.Attempt);
    }

    private static VideoJob Job(int attempt) => new() { Id = Id, Owner = Owner.Local, Request = new VideoRequest { Prompt = "a circle" }, Attempt = attempt };
}
