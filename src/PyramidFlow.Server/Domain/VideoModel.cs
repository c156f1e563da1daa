using PyramidFlow.Models;
using PyramidFlow.Generation;

namespace PyramidFlow.Server.Domain;

/// <summary>A model that videos can be asked of.</summary>
/// <param name="Id">Its name to users, such as <c>sprites</c> or <c>pyramid-flow-miniflux:768p</c>.</param>
/// <param name="Folder">Its checkpoint.</param>
/// <param name="Variant">Which transformer of the checkpoint; null is its first.</param>
/// <param name="Settings">What it uses unless the user says otherwise: size, frames, steps, guidance, frames per second.</param>
public sealed record VideoModel(string Id, string Folder, string? Variant, PipelineSettings Settings)
{
    /// <summary>What width and height in pixels are multiples of.</summary>
    public int SizeMultiple => FrameSizes.Multiple(Settings);

    /// <summary>Seconds of the longest clip it was trained on.</summary>
    public double MaxSeconds => VideoLength.OfLatents(Settings.MaxLatentFrames) / Settings.FramesPerSecond;
}
