namespace PyramidFlow.Training.Dit;

/// <summary>What the transformer trains on; the defaults are those of the released runs.</summary>
public sealed record ObjectiveOptions
{
    /// <summary>Share of a batch's rows for each stage, lowest resolution first: whole numbers, whose sum divides the batch.</summary>
    public IReadOnlyList<int> SampleRatios { get; init; } = [1, 2, 1];

    /// <summary>Latent frames of a unit after the first; at least 1.</summary>
    public int FramesPerUnit { get; init; } = 1;

    /// <summary>Largest share of noise mixed into the history; 0 to 1.</summary>
    public double CorruptRatio { get; init; } = 1 / 3.0;

    /// <summary>Where on a stage's timestep axis the samples lie.</summary>
    public TimestepDensity Density { get; init; } = new();

    /// <summary>Refuses impossible values.</summary>
    /// <param name="stages">Stages of the schedule.</param>
    /// <exception cref="ArgumentException">Names the value and what it may be.</exception>
    internal void Check(int stages)
    {
        var fault =
            SampleRatios.Count != stages ? $"sample_ratios [{string.Join(", ", SampleRatios)}] has {SampleRatios.Count} numbers: give {stages}, one for each stage"
            : SampleRatios.Any(r => r < 0) || SampleRatios.Sum() == 0 ? $"sample_ratios [{string.Join(", ", SampleRatios)}] must be 0 or more, and not all 0"
            : FramesPerUnit < 1 ? $"frame_per_unit {FramesPerUnit} is less than 1"
            : !(CorruptRatio >= 0 && CorruptRatio <= 1) ? FormattableString.Invariant($"corrupt_ratio {CorruptRatio} is not within 0 to 1")
            : null;
        if (fault is not null)
            throw new ArgumentException(fault);
    }
}
