namespace PyramidFlow.Torch;

/// <summary>Course of a learning rate after the warm-up.</summary>
public enum LearningRateShape
{
    /// <summary>Constant at the peak.</summary>
    Constant,

    /// <summary>Half a cosine from the peak to the final value.</summary>
    Cosine,

    /// <summary>Constant for the first half, then linear to the final value.</summary>
    LinearSecondHalf,
}

/// <summary>Learning rate as a function of the step.</summary>
/// <param name="Peak">Maximum rate.</param>
/// <param name="WarmUpSteps">Steps of the linear warm-up; the last one has the peak rate.</param>
/// <param name="TotalSteps">Steps of the run.</param>
/// <param name="Shape">Course after the warm-up.</param>
/// <param name="Final">Rate at the end of a decaying schedule.</param>
/// <param name="WarmUpFrom">Rate of the first step of the warm-up; null starts from 0 one step before it.</param>
public sealed record LearningRate(double Peak, long WarmUpSteps, long TotalSteps,
    LearningRateShape Shape = LearningRateShape.Constant, double Final = 0, double? WarmUpFrom = null)
{
    /// <summary>Creates a schedule measured in epochs.</summary>
    /// <param name="peak">Maximum rate.</param>
    /// <param name="warmUpEpochs">Epochs of the linear warm-up.</param>
    /// <param name="epochs">Epochs of the run.</param>
    /// <param name="stepsPerEpoch">Steps in one epoch.</param>
    public static LearningRate FromEpochs(double peak, long warmUpEpochs, long epochs, long stepsPerEpoch) =>
        new(peak, warmUpEpochs * stepsPerEpoch, epochs * stepsPerEpoch);

    /// <summary>The rate of a step, counted from 0.</summary>
    public double At(long step)
    {
        if (step < WarmUpSteps)
            return WarmUpFrom is { } from ? from + ((Peak - from) * step / Math.Max(1, WarmUpSteps - 1)) : Peak * (step + 1) / WarmUpSteps;
        var progress = Math.Clamp((step - WarmUpSteps) / (double)Math.Max(1, TotalSteps - WarmUpSteps), 0, 1);
        return Shape switch
        {
            LearningRateShape.Cosine => Final + ((Peak - Final) * 0.5 * (1 + Math.Cos(Math.PI * progress))),
            LearningRateShape.LinearSecondHalf => Final + ((Peak - Final) * Math.Min(1, 2 * (1 - progress))),
            _ => Peak,
        };
    }
}
