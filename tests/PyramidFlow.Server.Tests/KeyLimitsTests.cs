using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>Limits of one key in place of those of the service.</summary>
public sealed class KeyLimitsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Limits_are_kept_with_the_key_and_a_key_without_them_is_written_as_before()
    {
        var keys = new ApiKeys(folder.Path);
        var (alice, bob) = (keys.Add("alice"), keys.Add("bob", new KeyLimits(MaxPerDay: 20)));
        var read = new ApiKeys(folder.Path);
        Assert.Equal((new KeyLimits(MaxPerDay: 20), KeyLimits.None), (read.LimitsOf("bob"), read.LimitsOf("alice")));
        Assert.Equal(("alice", "bob"), (read.NameOf(alice), read.NameOf(bob)));

        Assert.True(keys.Limit("alice", new KeyLimits(MaxActive: 3, MaxPerMinute: 7)));
        Assert.False(keys.Limit("carol", KeyLimits.None));
        Assert.True(keys.Limit("bob", KeyLimits.None));
        Assert.Equal((new KeyLimits(3, null, 7), KeyLimits.None), (read.LimitsOf("alice"), read.LimitsOf("bob")));
        keys.Remove("alice");
        keys.Add("alice");
        Assert.Equal(KeyLimits.None, read.LimitsOf("alice"));
        Assert.DoesNotContain("{", File.ReadAllText(folder.File("keys.json")).Trim()[1..], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"aa":7}""")]
    [InlineData("""{"aa":{"max_active":7}}""")]
    [InlineData("""{"aa":{"owner":"alice#1","max_active":"many"}}""")]
    public void An_entry_that_cannot_be_read_stops_the_start(string json)
    {
        folder.Write("keys.json", json);
        FaultAssert.Is(Assert.Throws<ServiceException>(() => new ApiKeys(folder.Path).InUse), "keys_damaged", ("file", folder.File("keys.json")));
    }

    [Fact]
    public async Task A_key_is_held_to_its_own_limits_and_a_change_counts_at_once()
    {
        var keys = new ApiKeys(folder.Path);
        var (alice, bob) = (keys.Add("alice"), keys.Add("bob", new KeyLimits(MaxPerDay: 1)));
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false, Limits = new ServerLimits { ActiveJobs = 2 } }, folder.Path);
        Assert.Equal(HttpStatusCode.OK, (await AskAsync(bob)).StatusCode);
        await TestServer.RefusedAsync(await AskAsync(bob), HttpStatusCode.TooManyRequests, "too_many_today", "most=1");
        Assert.Equal(HttpStatusCode.OK, (await AskAsync(alice)).StatusCode);

        keys.Limit("bob", new KeyLimits(MaxActive: 1));
        await TestServer.RefusedAsync(await AskAsync(bob), HttpStatusCode.TooManyRequests, "too_many_active", "active=1");
        keys.Limit("bob", KeyLimits.None);
        Assert.Equal(HttpStatusCode.OK, (await AskAsync(bob)).StatusCode);
        await TestServer.RefusedAsync(await AskAsync(bob), HttpStatusCode.TooManyRequests, "too_many_active", "active=2");

        Task<HttpResponseMessage> AskAsync(string key) => server.Client.SendAsync(
            new HttpRequestMessage(HttpMethod.Post, "/v1/videos") { Headers = { Authorization = new AuthenticationHeaderValue("Bearer", key) }, Content = JsonContent.Create(TestServer.Quick) }, Cancel);
    }
}
