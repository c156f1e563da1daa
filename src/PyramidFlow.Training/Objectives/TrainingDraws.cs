using PyramidFlow.Torch;

namespace PyramidFlow.Training.Objectives;

/// <summary>Source of the random draws of an objective, in the order of the calls: float32 on the CPU.</summary>
internal interface ITrainingDraws
{
    /// <summary>Uniform draws from [0, 1).</summary>
    /// <param name="count">Number of draws.</param>
    float[] Uniform(int count);

    /// <summary>Standard normal draws, in the caller's scope.</summary>
    /// <param name="shape">Shape of the result.</param>
    Tensor Normal(long[] shape);
}

/// <summary>Draws from a random generator.</summary>
/// <param name="generator">The generator; the caller keeps ownership.</param>
internal sealed class GeneratorDraws(RandomGenerator generator) : ITrainingDraws
{
    /// <inheritdoc/>
    public float[] Uniform(int count)
    {
        using var scope = new TensorScope();
        return Tensor.Rand([count], generator).ToArray<float>();
    }

    /// <inheritdoc/>
    public Tensor Normal(long[] shape) => Tensor.Randn(shape, generator);
}

/// <summary>Density of the training timesteps within a stage.</summary>
internal enum TimestepScheme
{
    /// <summary>Uniform, as in the released models.</summary>
    Uniform,

    /// <summary>Logit-normal: denser in the middle (Stable Diffusion 3, section 3.1).</summary>
    LogitNormal,

    /// <summary>Heavy tails with a mode in the middle (Stable Diffusion 3, section 3.1).</summary>
    Mode,
}

/// <summary>Draws positions on the timestep axis of a stage, from 0 (its noisy end) to 1.</summary>
/// <param name="Scheme">Shape of the density.</param>
/// <param name="LogitMean">Mean of the normal draw of <see cref="TimestepScheme.LogitNormal"/>.</param>
/// <param name="LogitStd">Its standard deviation.</param>
/// <param name="ModeScale">Strength of <see cref="TimestepScheme.Mode"/>; 0 is uniform.</param>
internal sealed record TimestepDensity(TimestepScheme Scheme = TimestepScheme.Uniform,
    double LogitMean = 0, double LogitStd = 1, double ModeScale = 1.29)
{
    /// <summary>Draws the positions of a batch.</summary>
    /// <param name="draws">Source of the draws: normal for <see cref="TimestepScheme.LogitNormal"/>, otherwise uniform.</param>
    /// <param name="count">Number of samples.</param>
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

/// <summary>Prompt dropout for classifier-free guidance: which rows of a batch train without their prompt.</summary>
internal static class TextDrop
{
    /// <summary>Chooses the rows; pass them to <see cref="PyramidFlow.Models.TextCondition.Replace"/>, or encode an empty prompt for them.</summary>
    /// <param name="rows">Number of rows of the batch.</param>
    /// <param name="rate">Probability for each row, 0 to 1.</param>
    /// <param name="draws">Source of the draws, taken before all others of the batch.</param>
    public static bool[] Choose(int rows, double rate, ITrainingDraws draws) =>
        [.. draws.Uniform(rows).Select(u => u <= (float)rate)];
}
