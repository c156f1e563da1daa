using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.AI;
using PyramidFlow.Generation;
using PyramidFlow.Media;

namespace PyramidFlow.Extensions.AI;

/// <summary>Makes pictures, which are videos of one frame, as PNG.</summary>
[Experimental(PyramidFlowGenerators.ExperimentalImages)]
internal sealed class PipelineImageGenerator(PipelineAccess access) : IImageGenerator
{
    private const string Png = "image/png";

    /// <inheritdoc/>
    public async Task<ImageGenerationResponse> GenerateAsync(ImageGenerationRequest request, ImageGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        access.Check(options?.ModelId, options?.MediaType, Png);
        if (request.OriginalImages?.Any() == true)
            throw new NotSupportedException("the model does not edit pictures: leave OriginalImages out, or give the picture to an IVideoGenerator as the first frame");
        if (options?.ResponseFormat is ImageGenerationResponseFormat.Uri or ImageGenerationResponseFormat.Hosted)
            throw new NotSupportedException($"{options.ResponseFormat} is asked for and pictures are made here: use {ImageGenerationResponseFormat.Data}, or leave ResponseFormat out");
        var pipeline = await access.GetAsync(cancellationToken).ConfigureAwait(false);
        var asked = options?.RawRepresentationFactory?.Invoke(this) as GenerationOptions ?? new GenerationOptions();
        asked = asked with { Prompt = request.Prompt ?? asked.Prompt, Frames = 1, Seconds = null, Count = options?.Count ?? asked.Count };
        asked = PipelineAccess.Sized(asked, options?.ImageSize, pipeline.Settings);

        var pictures = new List<AIContent>();
        await foreach (var chunk in pipeline.GenerateAsync(asked, cancellationToken: cancellationToken).ConfigureAwait(false))
            pictures.Add(new DataContent(PngWriter.Encode(new RgbImage(chunk.Width, chunk.Height, chunk.Rgb)), Png));
        return new ImageGenerationResponse(pictures);
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(ImageGeneratorMetadata) ? new ImageGeneratorMetadata(PipelineAccess.Provider, null, access.Model)
            : serviceType.IsInstanceOfType(this) ? this : null;
    }

    /// <summary>The pipeline is its owner's.</summary>
    public void Dispose()
    {
    }
}
