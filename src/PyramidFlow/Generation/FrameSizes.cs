using PyramidFlow.Hub;
using PyramidFlow.Models;

namespace PyramidFlow.Generation;

/// <summary>Sizes a frame can have.</summary>
public static class FrameSizes
{
    /// <summary>Most pixels of a frame: no released checkpoint was trained near it, and a slip of the hand is far beyond.</summary>
    public const long MaxPixels = 1 << 24;

    /// <summary>What width and height in pixels are multiples of: VAE x patch x 2 for each further stage.</summary>
    /// <param name="settings">The checkpoint's; its steps say how many stages the pyramid has.</param>
    public static int Multiple(PipelineSettings settings) => VideoLength.Scale * Patches.Size << (settings.Steps.Count - 1);
}
