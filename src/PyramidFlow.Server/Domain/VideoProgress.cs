using PyramidFlow.Generation;

namespace PyramidFlow.Server.Domain;

/// <summary>Where the making of a video is.</summary>
/// <param name="Fraction">Share of the work done, 0 to 1.</param>
/// <param name="Phase">What is being done.</param>
/// <param name="Unit">Unit at work, from 0.</param>
/// <param name="Units">Number of units.</param>
/// <param name="Stage">Stage of the unit, from 0, the lowest resolution.</param>
/// <param name="Stages">Number of stages.</param>
/// <param name="Step">Steps of the stage done.</param>
/// <param name="Steps">Steps of the stage.</param>
public sealed record VideoProgress(
    double Fraction, GenerationPhase Phase, int Unit = 0, int Units = 0, int Stage = 0, int Stages = 0, int Step = 0, int Steps = 0)
{
    /// <summary>Seconds until it is done, as far as can be told; null before that.</summary>
    public double? SecondsLeft { get; init; }

    /// <summary>Number of the latest preview picture, from 1; 0 is none yet. It is read with <see cref="VideoVariant.Preview"/>.</summary>
    public int Preview { get; init; }

    /// <summary>Frames that the live stream has so far.</summary>
    public int LiveFrames { get; init; }
}
