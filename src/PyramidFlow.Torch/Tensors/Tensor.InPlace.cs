namespace PyramidFlow.Torch;

/// <content>Operators that write into this tensor and return it.</content>
public sealed partial class Tensor
{
    /// <summary>this += scale * other.</summary>
    public Tensor AddInPlace(Tensor other, double scale = 1) => RunInPlace("aten::add_.Tensor", this, other, scale);

    /// <summary>this += value.</summary>
    public Tensor AddInPlace(double value) => RunInPlace("aten::add_.Scalar", this, value);

    /// <summary>this -= other.</summary>
    public Tensor SubInPlace(Tensor other) => RunInPlace("aten::sub_.Tensor", this, other);

    /// <summary>this *= other.</summary>
    public Tensor MulInPlace(Tensor other) => RunInPlace("aten::mul_.Tensor", this, other);

    /// <summary>this *= value.</summary>
    public Tensor MulInPlace(double value) => RunInPlace("aten::mul_.Scalar", this, value);

    /// <summary>this /= other.</summary>
    public Tensor DivInPlace(Tensor other) => RunInPlace("aten::div_.Tensor", this, other);

    /// <summary>this += scale * a * b.</summary>
    public Tensor AddcmulInPlace(Tensor a, Tensor b, double scale = 1) =>
        RunInPlace("aten::addcmul_", this, a, b, scale);

    /// <summary>this += scale * a / b.</summary>
    public Tensor AddcdivInPlace(Tensor a, Tensor b, double scale = 1) =>
        RunInPlace("aten::addcdiv_", this, a, b, scale);

    /// <summary>this += weight * (end - this).</summary>
    public Tensor LerpInPlace(Tensor end, double weight) => RunInPlace("aten::lerp_.Scalar", this, end, weight);

    /// <summary>Square root in place.</summary>
    public Tensor SqrtInPlace() => RunInPlace("aten::sqrt_", this);

    /// <summary>x * sigmoid(x) in place.</summary>
    public Tensor SiluInPlace() => RunInPlace("aten::silu_", this);

    /// <summary>Limits every element to a range, in place.</summary>
    public Tensor ClampInPlace(double low, double high) => RunInPlace("aten::clamp_", this, low, high);

    /// <summary>Copies another tensor's elements over, with broadcasting and conversion.</summary>
    /// <param name="source">What is copied.</param>
    /// <param name="wait">False returns before the copy is done where one of the two is page-locked and the other on a GPU.</param>
    public Tensor CopyFrom(Tensor source, bool wait = true) => RunInPlace("aten::copy_", this, source, !wait);

    /// <summary>Sets every element.</summary>
    public Tensor Fill(double value) => RunInPlace("aten::fill_.Scalar", this, value);

    /// <summary>Sets every element to zero.</summary>
    public Tensor Zero() => RunInPlace("aten::zero_", this);

    /// <summary>Fills with normal draws.</summary>
    public Tensor NormalInPlace(double mean, double std, RandomGenerator generator) =>
        RunInPlace("aten::normal_", this, mean, std, generator);

    /// <summary>Fills with uniform draws from [low, high).</summary>
    public Tensor UniformInPlace(double low, double high, RandomGenerator generator) =>
        RunInPlace("aten::uniform_", this, low, high, generator);
}
