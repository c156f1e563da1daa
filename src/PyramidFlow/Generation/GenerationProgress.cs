using PyramidFlow.Media;

namespace PyramidFlow.Generation;

/// <summary>What a pipeline is doing.</summary>
public enum GenerationPhase
{
    /// <summary>Reading weights.</summary>
    Loading,

    /// <summary>Encoding the prompt.</summary>
    EncodingText,

    /// <summary>Encoding the picture or video that is gone on from.</summary>
    EncodingImage,

    /// <summary>Denoising a unit.</summary>
    Denoising,

    /// <summary>Decoding a unit to frames.</summary>
    Decoding,
}

/// <summary>Where a generation is.</summary>
/// <param name="Phase">What is being done.</param>
/// <param name="Unit">Unit at work, from 0.</param>
/// <param name="Units">Number of units.</param>
/// <param name="Stage">Stage of the unit, from 0, the lowest resolution.</param>
/// <param name="Stages">Number of stages.</param>
/// <param name="Step">Steps of the stage done.</param>
/// <param name="Steps">Steps of the stage.</param>
/// <param name="Fraction">Share of the whole work done, 0 to 1, weighed by tokens.</param>
public sealed record GenerationProgress(GenerationPhase Phase, int Unit, int Units, int Stage, int Stages, int Step, int Steps, double Fraction)
{
    /// <summary>Clip at work, from 0.</summary>
    public int Item { get; init; }

    /// <summary>Number of clips of the run.</summary>
    public int Items { get; init; } = 1;

    /// <summary>
    /// What the last frame of the unit would be if it were clean now, at the size of the stage; null in most reports
    /// (<see cref="PipelineOptions.PreviewEvery"/>).
    /// </summary>
    public RgbImage? Preview { get; init; }
}
