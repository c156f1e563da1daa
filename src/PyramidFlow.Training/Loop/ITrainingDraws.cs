using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>All random draws of an objective, in the order they are asked for: float32 on the CPU.</summary>
public interface ITrainingDraws
{
    /// <summary>Uniform draws from [0, 1).</summary>
    /// <param name="count">How many.</param>
    float[] Uniform(int count);

    /// <summary>Standard normal draws, in the caller's scope.</summary>
    /// <param name="shape">Any shape.</param>
    Tensor Normal(long[] shape);
}
