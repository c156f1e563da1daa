using System.Drawing;
using Microsoft.Extensions.AI;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models;

namespace PyramidFlow.Extensions.AI;

/// <summary>The pipeline behind a generator, and how requests of Microsoft.Extensions.AI become its own.</summary>
/// <param name="pipeline">Gives the pipeline; it is its owner's and not disposed with the generator.</param>
/// <param name="model">Name of the model; null where it is not known.</param>
internal sealed class PipelineAccess(Func<CancellationToken, Task<VideoPipeline>> pipeline, string? model)
{
    /// <summary>Name of the implementation.</summary>
    public const string Provider = "pyramidflow";

    /// <summary>Name of the model.</summary>
    public string? Model => model;

    /// <summary>Waits for the pipeline.</summary>
    public Task<VideoPipeline> GetAsync(CancellationToken cancellationToken) => pipeline(cancellationToken);

    /// <summary>Options with the nearest size that the model can make; unchanged where no size is asked for.</summary>
    public static GenerationOptions Sized(GenerationOptions options, Size? asked, PipelineSettings settings)
    {
        var grid = FrameSizes.Multiple(settings);
        return asked is { } size ? options with { Width = Near(size.Width), Height = Near(size.Height) } : options;

        int Near(int pixels) => Math.Max(1, (int)Math.Round((double)pixels / grid)) * grid;
    }

    /// <summary>Refuses another model or media type than there is.</summary>
    /// <exception cref="NotSupportedException">Another one is asked for.</exception>
    public void Check(string? askedModel, string? askedType, string type)
    {
        if (askedModel is not null && model is not null && askedModel != model)
            throw new NotSupportedException($"the model {askedModel} is asked for and this generator has {model}: leave ModelId out");
        if (askedType is not null && !string.Equals(askedType, type, StringComparison.OrdinalIgnoreCase))
            throw new NotSupportedException($"{askedType} is asked for and this generator makes {type}: leave MediaType out");
    }

    /// <summary>Pixels of a picture, cut to the shape of the video.</summary>
    public static async Task<ReadOnlyMemory<byte>> PixelsAsync(DataContent picture, int width, int height, CancellationToken cancellationToken)
    {
        if (!picture.HasTopLevelMediaType("image"))
            throw new NotSupportedException($"a video begins with a picture, and {picture.MediaType} is none: give an image");
        using var bytes = new MemoryStream(picture.Data.ToArray());
        var image = await ImageReader.ReadAsync(bytes, picture.Name ?? "the start image", width, height, cancellationToken).ConfigureAwait(false);
        return image.Pixels;
    }
}
