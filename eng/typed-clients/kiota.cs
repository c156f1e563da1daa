// The client that Kiota makes: a queued video, a list of one type, and a refusal as an exception of its type.
using Microsoft.Kiota.Abstractions.Authentication;
using Microsoft.Kiota.Http.HttpClientLibrary;
using PyramidFlow.Client;
using PyramidFlow.Client.Models;

var access = new BaseBearerTokenAuthenticationProvider(new Key(args[1]));
using var http = new HttpClientRequestAdapter(access) { BaseUrl = args[0] };
var client = new PyramidFlowClient(http);
var video = await client.V1.Videos.PostAsync(new CreateVideo
{
    Prompt = "a small red circle", Seed = 7, NumFrames = 9, Steps = [1, 1, 1], Solver = Solver.Euler, Prompts = [new LaterPrompt { From = 0.2, Prompt = "a star" }],
});
Expect(video is { Status: VideoObject_status.Queued, NumFrames: 9, Seed: 7, Error: null }, "the video");
var list = await client.V1.Videos.GetAsync(query => query.QueryParameters.Limit = 1);
Expect(list!.Data!.Single().Id == video!.Id, "the list");
try
{
    await client.V1.Videos["video_none"].GetAsync();
    Expect(false, "the refusal");
}
catch (ProblemObject refusal)
{
    Expect(refusal is { Status: 404, Error.Reason: "video_unknown" }, "the refusal");
}

static void Expect(bool holds, string what)
{
    if (!holds)
        throw new InvalidOperationException($"Kiota's client: {what} is not as expected");
}

internal sealed class Key(string key) : IAccessTokenProvider
{
    public AllowedHostsValidator AllowedHostsValidator { get; } = new();

    public Task<string> GetAuthorizationTokenAsync(Uri uri, Dictionary<string, object>? additionalAuthenticationContext = null, CancellationToken cancellationToken = default) => Task.FromResult(key);
}
