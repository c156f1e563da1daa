using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;
using PyramidFlow.Generation;
using PyramidFlow.Media;

namespace PyramidFlow.Extensions.AI;

/// <summary>Makes videos by a pipeline: fragmented mp4, one fragment for each unit.</summary>
internal sealed class PipelineVideoGenerator(PipelineAccess access) : IVideoGenerator
{
    private const string Mp4 = "video/mp4";

    /// <inheritdoc/>
    public async Task<VideoGenerationResponse> GenerateAsync(VideoGenerationRequest request, VideoGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        var videos = new List<MemoryStream>();
        IReadOnlyList<string> warnings = [];
        await foreach (var update in GenerateStreamingAsync(request, options, cancellationToken).ConfigureAwait(false))
        {
            while (videos.Count <= update.VideoIndex)
                videos.Add(new MemoryStream());
            foreach (var part in update.Contents.OfType<DataContent>())
                videos[update.VideoIndex].Write(part.Data.Span);
            warnings = update.Warnings;
        }

        return new VideoGenerationResponse([.. videos.Select(video => new DataContent(video.ToArray(), Mp4))]) { Warnings = warnings };
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<VideoGenerationUpdate> GenerateStreamingAsync(VideoGenerationRequest request, VideoGenerationOptions? options = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        access.Check(options?.ModelId, options?.MediaType, Mp4);
        var pipeline = await access.GetAsync(cancellationToken).ConfigureAwait(false);
        var asked = await AskedAsync(pipeline, request, options, cancellationToken).ConfigureAwait(false);
        var run = pipeline.GenerateAsync(asked, cancellationToken: cancellationToken);
        using var bytes = new MemoryStream();
        var (item, writer) = (-1, (VideoStreamWriter?)null);
        try
        {
            await foreach (var chunk in run.ConfigureAwait(false))
            {
                if (chunk.Item != item)
                {
                    if (writer is not null)
                        await writer.DisposeAsync().ConfigureAwait(false);
                    var format = new VideoWriterOptions { Fps = asked.FramesPerSecond ?? pipeline.Settings.FramesPerSecond };
                    (item, writer) = (chunk.Item, VideoStreamWriter.Create(bytes, "the video", chunk.Width, chunk.Height, format));
                }

                await writer!.WriteFramesAsync(chunk.Rgb, cancellationToken).ConfigureAwait(false);
                var part = new DataContent(bytes.ToArray(), Mp4);
                bytes.SetLength(0);
                yield return new VideoGenerationUpdate([part])
                {
                    VideoIndex = item,
                    FramesDone = chunk.FirstFrame + chunk.Count,
                    FrameCount = run.Items[item].Frames,
                    Warnings = run.Warnings,
                    RawRepresentation = chunk,
                };
            }
        }
        finally
        {
            if (writer is not null)
                await writer.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(VideoGeneratorMetadata) ? new VideoGeneratorMetadata(PipelineAccess.Provider, null, access.Model)
            : serviceType.IsInstanceOfType(this) ? this : null;
    }

    /// <summary>The pipeline is its owner's.</summary>
    public void Dispose()
    {
    }

    private async Task<GenerationOptions> AskedAsync(VideoPipeline pipeline, VideoGenerationRequest request, VideoGenerationOptions? options, CancellationToken cancellationToken)
    {
        var asked = options?.RawRepresentationFactory?.Invoke(this) as GenerationOptions ?? new GenerationOptions();
        asked = asked with
        {
            Prompt = request.Prompt ?? asked.Prompt,
            NegativePrompt = options?.NegativePrompt ?? asked.NegativePrompt,
            Seconds = options?.Duration?.TotalSeconds ?? asked.Seconds,
            Frames = options?.Duration is null ? asked.Frames : null,
            FramesPerSecond = options?.FramesPerSecond ?? asked.FramesPerSecond,
            Seed = options?.Seed is { } seed ? (ulong)seed : asked.Seed,
            Count = options?.Count ?? asked.Count,
        };
        asked = PipelineAccess.Sized(asked, options?.VideoSize, pipeline.Settings);

        return request.StartImage is not { } picture ? asked : asked with
        {
            Image = await PipelineAccess.PixelsAsync(picture, asked.Width ?? pipeline.Settings.Width, asked.Height ?? pipeline.Settings.Height, cancellationToken).ConfigureAwait(false),
        };
    }
}
