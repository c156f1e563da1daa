using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Dit;

/// <summary>Where on a stage's timestep axis the training samples lie.</summary>
public enum TimestepScheme
{
    /// <summary>Everywhere alike, as the released models were trained.</summary>
    Uniform,

    /// <summary>Logistic function of a normal draw: more in the middle (Stable Diffusion 3, section 3.1).</summary>
    LogitNormal,

    /// <summary>Heavy tails, with a mode in the middle (the same paper).</summary>
    Mode,
}

/// <summary>Draws positions on a stage's timestep axis, within 0 (its noisy end) to 1.</summary>
/// <param name="Scheme">Shape of the density.</param>
/// <param name="LogitMean">Mean of the normal draw of <see cref="TimestepScheme.LogitNormal"/>.</param>
/// <param name="LogitStd">Its standard deviation.</param>
/// <param name="ModeScale">Strength of <see cref="TimestepScheme.Mode"/>; 0 is uniform.</param>
public sealed record TimestepDensity(TimestepScheme Scheme = TimestepScheme.Uniform,
    double LogitMean = 0, double LogitStd = 1, double ModeScale = 1.29)
{
    /// <summary>Positions of a batch.</summary>
    /// <param name="draws">Source of the draws: normal for <see cref="TimestepScheme.LogitNormal"/>, else uniform.</param>
    /// <param name="count">How many.</param>
    public float[] Draw(ITrainingDraws draws, int count) => Scheme switch
    {
        TimestepScheme.LogitNormal => [.. Normal(draws, count).Select(n => (float)(1 / (1 + Math.Exp(-(LogitMean + (LogitStd * n))))))],
        TimestepScheme.Mode => [.. draws.Uniform(count).Select(u => (float)(1 - u - (ModeScale * (Math.Pow(Math.Cos(Math.PI * u / 2), 2) - 1 + u))))],
        _ => draws.Uniform(count),
    };

    private static float[] Normal(ITrainingDraws draws, int count)
    {
        using var scope = new Torch.TensorScope();
        return draws.Normal([count]).ToArray<float>();
    }
}
