using PyramidFlow.Models;
using PyramidFlow.Generation;

namespace PyramidFlow.Benchmarks;

/// <summary>A whole video to make.</summary>
/// <param name="Family">Whose transformer.</param>
/// <param name="Width">Pixels, a multiple of 64.</param>
/// <param name="Height">Pixels, a multiple of 64.</param>
/// <param name="Frames">1, 9, 17, ...</param>
public sealed record VideoToMeasure(ModelFamily Family, int Width, int Height, int Frames)
{
    /// <summary>The released variant of that size.</summary>
    internal string Variant => Math.Max(Width, Height) > 640 ? "768p" : "384p";

    /// <summary>What is made, steps and guidance as released.</summary>
    internal GenerationSettings Settings(PipelineSettings defaults) =>
        new GenerationOptions { Prompt = "a video", Width = Width, Height = Height, Frames = Frames }.Resolve(defaults);
}
