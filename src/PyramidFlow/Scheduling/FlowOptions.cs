namespace PyramidFlow.Scheduling;

/// <summary>Shape of the pyramidal noise schedule; the defaults are the released models'.</summary>
public sealed record FlowOptions
{
    /// <summary>Points of the training tables; at least 2.</summary>
    public int NumTrainTimesteps { get; init; } = 1000;

    /// <summary>Bends the global schedule towards noise; more than 0, 1 leaves it straight.</summary>
    public double Shift { get; init; } = 1;

    /// <summary>Stages of the spatial pyramid; at least 1.</summary>
    public int Stages { get; init; } = 3;

    /// <summary>Where the stages begin and end on the noise axis, 0 (pure noise) to 1: rising, one more than there are stages.</summary>
    public IReadOnlyList<double> StageRange { get; init; } = [0, 1 / 3.0, 2 / 3.0, 1];

    /// <summary>Negative correlation of the noise that is added within a 2x2 block at a stage jump; positive, and at most 1/3 for the noise to exist.</summary>
    public double Gamma { get; init; } = 1 / 3.0;

    /// <summary>Refuses impossible values.</summary>
    /// <exception cref="ArgumentException">Names the value and what it may be.</exception>
    internal void Check()
    {
        var rising = StageRange.Zip(StageRange.Skip(1)).All(p => p.First < p.Second);
        var fault =
            NumTrainTimesteps < 2 ? $"{NumTrainTimesteps} training timesteps are too few: at least 2"
            : !(Shift > 0) ? FormattableString.Invariant($"shift {Shift} is not positive")
            : Stages < 1 ? $"{Stages} stages are too few: at least 1"
            : StageRange.Count != Stages + 1 || !rising || StageRange[0] < 0 || StageRange[^1] > 1
                ? $"the stage range of {Stages} stages must be {Stages + 1} rising numbers from 0 to 1"
            : !(Gamma > 0) ? FormattableString.Invariant($"gamma {Gamma} is not positive")
            : null;
        if (fault is not null)
            throw new ArgumentException(fault);
    }
}
