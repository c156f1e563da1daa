namespace PyramidFlow.Torch;

/// <summary>Fills a fresh weight in place.</summary>
/// <param name="weight">The weight, float32.</param>
/// <param name="generator">Source of the draws.</param>
public delegate void Initializer(Tensor weight, RandomGenerator generator);

/// <summary>The initialisers of PyTorch's layers.</summary>
public static class Initializers
{
    /// <summary>All zero.</summary>
    public static void Zeros(Tensor weight, RandomGenerator generator) => weight.Zero();

    /// <summary>All one.</summary>
    public static void Ones(Tensor weight, RandomGenerator generator) => weight.Fill(1);

    /// <summary>Normal with this standard deviation.</summary>
    public static Initializer Normal(double std) => (weight, generator) => weight.NormalInPlace(0, std, generator);

    /// <summary>Uniform within +-1/sqrt(fan in): the default of linear and convolution layers and of their biases.</summary>
    public static Initializer FanIn(long fanIn)
    {
        var bound = 1 / Math.Sqrt(Math.Max(1, fanIn));
        return (weight, generator) => weight.UniformInPlace(-bound, bound, generator);
    }

    /// <summary>Uniform within +-sqrt(6 / (fan in + fan out)).</summary>
    public static Initializer XavierUniform(long fanIn, long fanOut)
    {
        var bound = Math.Sqrt(6.0 / (fanIn + fanOut));
        return (weight, generator) => weight.UniformInPlace(-bound, bound, generator);
    }
}
