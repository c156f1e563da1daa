using PyramidFlow.Models;
using PyramidFlow.Generation;

namespace PyramidFlow.Server.Domain;

/// <summary>A model that users can select.</summary>
/// <param name="Id">Name for users, such as <c>sprites</c> or <c>pyramid-flow-miniflux:768p</c>.</param>
/// <param name="Folder">Path of the checkpoint folder.</param>
/// <param name="Variant">Variant of the checkpoint's transformer; null for the first.</param>
/// <param name="Settings">Defaults: size, frames, steps, guidance, frames per second.</param>
public sealed record VideoModel(string Id, string Folder, string? Variant, PipelineSettings Settings)
{
    /// <summary>Width and height must be multiples of this number of pixels.</summary>
    public int SizeMultiple => FrameSizes.Multiple(Settings);

    /// <summary>Duration in seconds of the longest clip in the training.</summary>
    public double MaxSeconds => VideoLength.OfLatents(Settings.MaxLatentFrames) / Settings.FramesPerSecond;

    /// <summary>The size of a shape with about as many pixels as the model was trained on.</summary>
    /// <param name="ratio">Width by height.</param>
    internal (int Width, int Height) SizeOf(double ratio)
    {
        var area = (double)Settings.Width * Settings.Height;
        return (Side(Math.Sqrt(area * ratio)), Side(Math.Sqrt(area / ratio)));

        int Side(double pixels) => Math.Max(1, (int)Math.Round(pixels / SizeMultiple)) * SizeMultiple;
    }
}

/// <summary>A LoRA that users can select.</summary>
/// <param name="Name">Name for users.</param>
/// <param name="Models">Ids of the models that it fits.</param>
internal sealed record VideoLora(string Name, IReadOnlyList<string> Models);

/// <summary>A checkpoint folder and the name by which users ask for it.</summary>
/// <param name="Name">Name of the model.</param>
/// <param name="Folder">Path of the checkpoint folder.</param>
public sealed record ModelFolder(string Name, string Folder);
