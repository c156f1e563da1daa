using System.Net;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

public sealed class LostDatabaseTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task While_the_database_is_away_requests_are_refused_and_all_goes_on_when_it_is_back()
    {
        using var cluster = new PostgresCluster();
        cluster.SkipUnlessThere();
        await using var server = await TestServer.StartAsync(options => options with { Database = cluster.Connection, LeaseSeconds = 5 });
        var id = await server.SubmitAsync(TestServer.Quick);
        cluster.Switch(on: false);

        await TestServer.ProblemAsync(await server.Client.GetAsync($"/v1/videos/{id}", Cancel), HttpStatusCode.ServiceUnavailable);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await server.Client.GetAsync("/health/ready", Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/health", Cancel)).StatusCode);

        cluster.Switch(on: true);
        // Connections that were open before fail once more each.
        await TestServer.UntilAsync(async () => (await server.Client.GetAsync($"/v1/videos/{id}", Cancel)).StatusCode == HttpStatusCode.OK);
        Assert.Equal("completed", (await server.EndedAsync(id)).GetProperty("status").GetString());
    }

    [Theory]
    [InlineData("nonsense")]
    [InlineData("Hst=db;Password=secret")]
    [InlineData("Host=db;Port=secret")]
    public void A_connection_string_that_cannot_be_read_is_a_sentence_without_what_it_holds(string connection)
    {
        var error = Assert.Throws<ServiceException>(() => new PostgresDialect(connection));
        FaultAssert.Is(error, "connection_string_invalid");
        Assert.Empty(error.Parameters);
        Assert.DoesNotContain("secret", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(connection, error.Message, StringComparison.Ordinal);
    }
}
