using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Domain;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>Which videos are kept, by age and by size.</summary>
public sealed class RetentionTests : IAsyncLifetime
{
    private const long Day = 24 * 60 * 60 * 1000;
    private readonly TemporaryFolder data = new();
    private readonly SqliteDialect dialect;
    private readonly SqlJobStore store;
    private readonly VideoFolder folder;

    public RetentionTests()
    {
        folder = new VideoFolder(data.Path);
        folder.Create();
        dialect = new SqliteDialect(folder.Database);
        store = new SqlJobStore(dialect, new LeaseRules(3, TimeSpan.Zero));
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => await store.InitializeAsync(Cancel);

    public async ValueTask DisposeAsync()
    {
        await store.DisposeAsync();
        data.Dispose();
    }

    [Fact]
    public async Task Videos_older_than_they_are_to_be_kept_are_removed_with_their_files_and_nothing_else()
    {
        var old = await CompletedAsync(100, days: 8);
        var young = await CompletedAsync(100, days: 6);
        var waiting = await AddAsync();

        await CleanAsync(new(KeepDays: 7));

        Assert.Null(await store.FindAsync(old, Cancel));
        Assert.False(Directory.Exists(folder.For(old)));
        Assert.True(File.Exists(folder.Video(young, 1)));
        Assert.NotNull(await store.FindAsync(young, Cancel));
        Assert.NotNull(await store.FindAsync(waiting, Cancel));
    }

    [Fact]
    public async Task Beyond_the_size_the_oldest_videos_are_removed()
    {
        var oldest = await CompletedAsync(100, days: 3);
        var middle = await CompletedAsync(100, days: 2);
        var newest = await CompletedAsync(100, days: 1);

        await CleanAsync(new(KeepBytes: 250));

        Assert.Null(await store.FindAsync(oldest, Cancel));
        Assert.Equal([folder.For(middle), folder.For(newest)], Directory.EnumerateDirectories(folder.Videos).OrderBy(path => path == folder.For(newest)));
    }

    [Fact]
    public async Task Without_limits_all_are_kept()
    {
        var id = await CompletedAsync(100, days: 10_000);
        await CleanAsync(new());
        Assert.True(File.Exists(folder.Video(id, 1)));
    }

    private Task CleanAsync(RetentionRules rules) => new FileCleanup(store, folder, rules).CleanAsync(Cancel);

    private async Task<string> AddAsync()
    {
        var id = VideoId.New();
        await store.AddAsync(new NewJob(id, Owner.Local, new VideoRequest { Prompt = "a circle", Model = "sprites", Frames = 9, Width = 128, Height = 128, Seed = 7 }) { MaxActive = 100 }, Cancel);
        return id;
    }

    private async Task<string> CompletedAsync(long bytes, long days)
    {
        var id = await AddAsync();
        var lease = await store.LeaseAsync("worker", ["sprites"], TimeSpan.FromHours(1), Cancel);
        Directory.CreateDirectory(folder.For(id));
        await File.WriteAllBytesAsync(folder.Video(id, 1), new byte[bytes], Cancel);
        Assert.True(await store.CompleteAsync(lease!, new VideoResult(9, folder.BytesOf(id, 1), 1, []), Cancel));
        await using var session = await SqlSession.WriteAsync(dialect, Cancel);
        await session.ExecuteAsync("UPDATE videos SET completed = completed - @age WHERE id = @id", Cancel, ("age", days * Day), ("id", id));
        await session.CommitAsync(Cancel);
        return id;
    }
}
