// The client that NSwag makes: a queued video, a list of one type, and a refusal as an exception of its type.
using System.Net.Http.Headers;
using PyramidFlow.Client;

using var http = new HttpClient { BaseAddress = new Uri(args[0]), DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", args[1]) } };
var client = new PyramidFlowClient(http) { BaseUrl = args[0] };
Solver? solver = Solver.Euler;
var video = await client.CreateVideoAsync(new CreateVideo
{
    Prompt = "a small red circle", Seed = 7, Num_frames = 9, Steps = [1, 1, 1], Solver = solver, Prompts = [new LaterPrompt { From = 0.2, Prompt = "a star" }],
});
Expect(video is { Status: VideoObjectStatus.Queued, Num_frames: 9, Seed: 7, Error: null }, "the video");
var list = await client.ListVideosAsync(1, null, Order.Desc);
Expect(list.Data.Single().Id == video.Id, "the list");
try
{
    await client.GetVideoAsync("video_none");
    Expect(false, "the refusal");
}
catch (ApiException<ProblemObject> refusal)
{
    Expect(refusal.Result is { Status: 404, Error.Reason: "video_unknown" }, "the refusal");
}

static void Expect(bool holds, string what)
{
    if (!holds)
        throw new InvalidOperationException($"NSwag's client: {what} is not as expected");
}
