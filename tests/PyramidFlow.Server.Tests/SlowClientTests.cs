using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Tests;

/// <summary>Clients that send drop by drop (slow loris) or go away in the middle.</summary>
public sealed class SlowClientTests() : StartedServer(options => options with
{
    RunsWorker = false,
    Limits = new ServerLimits { HeaderSeconds = 1, BodyBytesPerSecond = 1 << 20, BodyGraceSeconds = 1.5 },
})
{
    private const string Form = "POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n"
        + "--b\r\nContent-Disposition: form-data; name=\"input_reference\"; filename=\"a.png\"\r\n\r\n\u0089PNG\r\n and some bytes more";

    [Fact]
    public async Task Headers_that_do_not_come_are_not_waited_for()
    {
        using var slow = await RawClient.OpenAsync(Server);
        await slow.SendAsync("GET /v1/videos HTTP/1.1\r\nHost: local");

        Assert.StartsWith("HTTP/1.1 408 ", await slow.AnswerAsync(), StringComparison.Ordinal);
        await Server.GetAsync("/v1/videos");
    }

    [Fact]
    public async Task A_body_that_does_not_come_is_refused_with_a_sentence_and_leaves_nothing()
    {
        var slow = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => RawClient.OpenAsync(Server)));
        await Task.WhenAll(slow.Select(client => client.SendAsync(Form)));
        // Others are served while they dawdle.
        await Server.SubmitAsync(TestServer.Quick);

        foreach (var client in slow)
        {
            var answer = await client.AnswerAsync();
            Assert.StartsWith("HTTP/1.1 408 ", answer, StringComparison.Ordinal);
            Assert.Contains("application/problem+json", answer, StringComparison.Ordinal);
            Assert.Contains("the request came too slowly", answer, StringComparison.Ordinal);
            client.Dispose();
        }

        Assert.Empty(Directory.EnumerateFiles(Path.Combine(Server.Data, "incoming")));
        Assert.Single((await Server.GetAsync("/v1/videos")).GetProperty("data").EnumerateArray());
    }

    [Fact]
    public async Task A_client_that_goes_away_in_the_middle_of_its_upload_leaves_nothing()
    {
        using (var client = await RawClient.OpenAsync(Server))
        {
            await client.SendAsync(Form);
            while (!Directory.EnumerateFiles(Path.Combine(Server.Data, "incoming")).Any())
                await Task.Delay(20, Cancel);
        }

        while (Directory.EnumerateFiles(Path.Combine(Server.Data, "incoming")).Any())
            await Task.Delay(20, Cancel);
        Assert.Empty((await Server.GetAsync("/v1/videos")).GetProperty("data").EnumerateArray());
    }
}
