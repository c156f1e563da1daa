using PyramidFlow.Cli.Models;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

// Alone: other tests keep prompts in the same folder.
[CollectionDefinition(nameof(TextCacheTests), DisableParallelization = true)]
[Collection(nameof(TextCacheTests))]
public sealed class TextCacheTests(TinyModel model) : IClassFixture<TinyModel>, IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static int Kept => Directory.Exists(CacheFolder.Prompts) ? Directory.GetFiles(CacheFolder.Prompts).Length : 0;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Prompts_are_kept_once_unless_that_is_not_wanted()
    {
        var before = Kept;
        var first = await Make("first.png");
        Assert.Equal(before + 1, Kept);
        Assert.Equal(first, await Make("second.png"));
        Assert.Equal(first, await Make("third.png", "--offload", "sequential"));
        Assert.Equal(before + 1, Kept);
        Directory.Delete(CacheFolder.Prompts, recursive: true);
        Assert.Equal(first, await Make("fourth.png", "--no-text-cache"));
        Assert.Equal(0, Kept);
    }

    private async Task<byte[]> Make(string name, params string[] options)
    {
        var run = await CliRun.OfAsync(["generate", "a ball that no other test asks for", "--model", model.Folder, "--frames", "1", "--seed", "3", "-o", folder.File(name), .. options]);
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        return await File.ReadAllBytesAsync(folder.File(name), TestContext.Current.CancellationToken);
    }
}
