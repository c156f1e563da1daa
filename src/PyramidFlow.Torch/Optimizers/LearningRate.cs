namespace PyramidFlow.Torch;

/// <summary>How a learning rate goes on after its warm-up.</summary>
public enum LearningRateShape
{
    /// <summary>Stays.</summary>
    Constant,

    /// <summary>Falls on half a cosine to the final value.</summary>
    Cosine,

    /// <summary>Stays for the first half, then falls linearly to the final value.</summary>
    LinearSecondHalf,
}

/// <summary>Learning rate as a function of the step.</summary>
/// <param name="Peak">Largest value.</param>
/// <param name="WarmUpSteps">Steps of linear rise; the last of them has the peak.</param>
/// <param name="TotalSteps">Length of the run.</param>
/// <param name="Shape">What comes after the warm-up.</param>
/// <param name="Final">Value at the end of a falling schedule.</param>
/// <param name="WarmUpFrom">Rate of the first step of the warm-up; null makes all its steps rise alike, from 0 before the first.</param>
public sealed record LearningRate(double Peak, long WarmUpSteps, long TotalSteps,
    LearningRateShape Shape = LearningRateShape.Constant, double Final = 0, double? WarmUpFrom = null)
{
    /// <summary>A schedule counted in epochs.</summary>
    /// <param name="peak">Largest value.</param>
    /// <param name="warmUpEpochs">Epochs of linear rise.</param>
    /// <param name="epochs">Length of the run.</param>
    /// <param name="stepsPerEpoch">Steps of an epoch.</param>
    public static LearningRate OfEpochs(double peak, long warmUpEpochs, long epochs, long stepsPerEpoch) =>
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
