using PyramidFlow.Cli.Terminal;
using PyramidFlow.Models;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

// Alone: other tests keep prompts in the same folder.
[CollectionDefinition(nameof(TextCacheTests), DisableParallelization = true)]
[Collection(nameof(TextCacheTests))]
public sealed class TextCacheTests(TinyModel model) : IClassFixture<TinyModel>, IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static int Kept => Directory.Exists(CacheFolder.Prompts) ? Directory.GetFiles(CacheFolder.Prompts!).Length : 0;

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
        Directory.Delete(CacheFolder.Prompts!, recursive: true);
        Assert.Equal(first, await Make("fourth.png", "--no-text-cache"));
        Assert.Equal(0, Kept);
    }

    [Theory]
    [InlineData("HOME", "/nonexistent", null)]
    [InlineData("HOME", "relative", null)]
    [InlineData("XDG_CACHE_HOME", "relative", null)]
    [InlineData("XDG_CACHE_HOME", "/var/tmp/caches", "/var/tmp/caches/pyramidflow/prompts")]
    [InlineData(CacheFolder.Variable, "/var/tmp/mine", "/var/tmp/mine/prompts")]
    public void A_user_without_a_home_has_no_cache_and_none_comes_into_the_working_folder(string variable, string value, string? expected)
    {
        string[] variables = [CacheFolder.Variable, "XDG_CACHE_HOME", "HOME"];
        var before = variables.Select(Environment.GetEnvironmentVariable).ToArray();
        try
        {
            Environment.SetEnvironmentVariable(CacheFolder.Variable, null);
            Environment.SetEnvironmentVariable("XDG_CACHE_HOME", null);
            Environment.SetEnvironmentVariable("HOME", "/nonexistent");
            Environment.SetEnvironmentVariable(variable, value);
            Assert.Equal(expected, CacheFolder.Prompts);
        }
        finally
        {
            foreach (var (name, old) in variables.Zip(before))
                Environment.SetEnvironmentVariable(name, old);
        }
    }

    private async Task<byte[]> Make(string name, params string[] options)
    {
        var run = await CliRun.OfAsync(["generate", "a ball that no other test asks for", "--model", model.Folder, "--frames", "1", "--seed", "3", "-o", folder.File(name), .. options]);
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        return await File.ReadAllBytesAsync(folder.File(name), TestContext.Current.CancellationToken);
    }
}
