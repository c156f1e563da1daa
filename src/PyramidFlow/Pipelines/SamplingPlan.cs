using PyramidFlow.Transformers;

namespace PyramidFlow.Pipelines;

/// <summary>Shape and steps of a clip to sample.</summary>
/// <param name="Height">Rows of the latents; divisible by 2^stages.</param>
/// <param name="Width">Columns of the latents, likewise.</param>
/// <param name="FramesPerUnit">Latent frames of a unit after the first.</param>
/// <param name="Steps">Steps in each stage for the first unit, lowest resolution first.</param>
/// <param name="VideoSteps">The same for the later units.</param>
/// <param name="Guidance">Guidance scale of each unit; null is off, so that only the prompt is looked at.</param>
public sealed record SamplingPlan(int Height, int Width, int FramesPerUnit, IReadOnlyList<int> Steps, IReadOnlyList<int> VideoSteps,
    IReadOnlyList<double?> Guidance)
{
    /// <summary>Number of units; the first has one latent frame.</summary>
    public int Units => Guidance.Count;

    /// <summary>Number of stages.</summary>
    public int Stages => Steps.Count;

    /// <summary>Latent frames of the whole clip.</summary>
    public int Frames => 1 + ((Units - 1) * FramesPerUnit);

    /// <summary>Latent frames of a unit.</summary>
    public int FramesOf(int unit) => unit == 0 ? 1 : FramesPerUnit;

    /// <summary>Steps of each stage of a unit.</summary>
    public IReadOnlyList<int> StepsOf(int unit) => unit == 0 ? Steps : VideoSteps;

    /// <summary>Tokens of a unit at a stage.</summary>
    public ClipSize SizeOf(int unit, int stage) => Size(FramesOf(unit), stage);

    /// <summary>Tokens of history and unit together: what a step costs.</summary>
    public long Tokens(int unit, int stage)
    {
        var history = unit == 0 ? [] : LatentPyramid.HistoryRanges(unit, stage, FramesPerUnit);
        return SizeOf(unit, stage).Tokens + history.Sum(clip => Size(clip.Count, clip.Level).Tokens);
    }

    private ClipSize Size(long frames, int stage)
    {
        var scale = Patches.Size << (Stages - 1 - stage);
        return new ClipSize(frames, Height / scale, Width / scale);
    }
}
