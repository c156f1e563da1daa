// A page that plays a video while it is made: every part of the answer is a fragment of an mp4 that browsers play as it comes.
//
//   dotnet run --urls http://127.0.0.1:5080
using Microsoft.Extensions.AI;
using PyramidFlow;
using PyramidFlow.Extensions.AI;
using PyramidFlow.Hosting;

var builder = WebApplication.CreateBuilder(args);
builder.Services.AddPyramidFlow();
builder.Services.AddVideoGenerator(services => PyramidFlowGenerators.CreateVideoGenerator(services.GetRequiredService<IPipelineSource>().GetAsync)).UseLogging();
var app = builder.Build();

app.MapHealthChecks("/health");
app.MapGet("/", () => Results.Content("""
    <!doctype html><html lang="en"><meta charset="utf-8"><title>A video</title>
    <form onsubmit="video.src = '/video?' + new URLSearchParams(new FormData(this)); return false">
    <label>Prompt <input name="prompt" size="60" required value="a small red circle moving right on a black background"></label>
    <label>Seconds <input name="seconds" type="number" min="1" max="7" value="6"></label> <button>Make it</button></form>
    <video id="video" width="512" autoplay muted controls></video></html>
    """, "text/html"));
app.MapGet("/video", async (string prompt, int? seconds, IVideoGenerator videos, HttpContext http) =>
{
    try
    {
        var length = seconds is { } given ? TimeSpan.FromSeconds(given) : (TimeSpan?)null;
        await foreach (var update in videos.GenerateStreamingAsync(new VideoGenerationRequest(prompt), new VideoGenerationOptions { Duration = length }, http.RequestAborted))
        {
            if (!http.Response.HasStarted)
                http.Response.ContentType = "video/mp4";
            foreach (var part in update.Contents.OfType<DataContent>())
                await http.Response.Body.WriteAsync(part.Data, http.RequestAborted);
            await http.Response.Body.FlushAsync(http.RequestAborted);
        }
    }
    catch (RequestException e) when (!http.Response.HasStarted)
    {
        await Results.Problem(e.Message, statusCode: StatusCodes.Status400BadRequest).ExecuteAsync(http);
    }
});
app.Run();
