using PyramidFlow.Generation;
using PyramidFlow.Media;

await using var pipeline = await VideoPipeline.LoadAsync("sprites");
var run = pipeline.GenerateAsync(new GenerationOptions { Prompt = "a small red circle moving right on a black background", Seed = 7 });
await using var video = VideoWriter.Create("out.mp4", run.Settings.Width, run.Settings.Height, new VideoWriterOptions { Fps = pipeline.Settings.FramesPerSecond });
await foreach (var chunk in run)
    await video.WriteFramesAsync(chunk.Rgb);
await video.CompleteAsync();
Console.WriteLine($"out.mp4: {video.FrameCount} frames");
