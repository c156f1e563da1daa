using PyramidFlow.Generation;
using PyramidFlow.Hosting;
using PyramidFlow.Media;

namespace PyramidFlow.Samples;

/// <summary>Makes a video of each line of a file.</summary>
internal sealed partial class VideoMaker(IPipelineSource source, IConfiguration configuration, IHostApplicationLifetime lifetime, ILogger<VideoMaker> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var prompts = await File.ReadAllLinesAsync(configuration["Prompts"] ?? "prompts.txt", stoppingToken);
        var pipeline = await source.GetAsync(stoppingToken);
        foreach (var (number, prompt) in prompts.Where(line => line.Length > 0).Index())
        {
            var run = pipeline.GenerateAsync(new GenerationOptions { Prompt = prompt, Seconds = configuration.GetValue<double?>("Seconds") }, cancellationToken: stoppingToken);
            await using var video = VideoWriter.Create($"{number + 1}.mp4", run.Settings.Width, run.Settings.Height, new VideoWriterOptions { Fps = pipeline.Settings.FramesPerSecond });
            await foreach (var chunk in run)
                await video.WriteFramesAsync(chunk.Rgb, stoppingToken);
            await video.CompleteAsync(stoppingToken);
            LogMade(video.Path, video.FrameCount);
        }

        lifetime.StopApplication();
    }

    [LoggerMessage(EventId = 1, Level = LogLevel.Information, Message = "{Path}: {Frames} frames")]
    private partial void LogMade(string path, long frames);
}
