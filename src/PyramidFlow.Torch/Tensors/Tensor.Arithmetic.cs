namespace PyramidFlow.Torch;

/// <content>Element-wise operators. Those named <c>...InPlace</c> write into this tensor and return it.</content>
public sealed partial class Tensor
{
    /// <summary>Element-wise sum.</summary>
    public static Tensor operator +(Tensor a, Tensor b) => Call("aten::add.Tensor", a, b);

    /// <summary>Adds a number.</summary>
    public static Tensor operator +(Tensor a, double b) => Call("aten::add.Scalar", a, b);

    /// <summary>Element-wise difference.</summary>
    public static Tensor operator -(Tensor a, Tensor b) => Call("aten::sub.Tensor", a, b);

    /// <summary>Subtracts a number.</summary>
    public static Tensor operator -(Tensor a, double b) => Call("aten::sub.Scalar", a, b);

    /// <summary>A number minus each element.</summary>
    public static Tensor operator -(double a, Tensor b) => Call("aten::rsub.Scalar", b, a);

    /// <summary>Negation.</summary>
    public static Tensor operator -(Tensor a) => Call("aten::neg", a);

    /// <summary>Element-wise product.</summary>
    public static Tensor operator *(Tensor a, Tensor b) => Call("aten::mul.Tensor", a, b);

    /// <summary>Multiplies by a number.</summary>
    public static Tensor operator *(Tensor a, double b) => Call("aten::mul.Scalar", a, b);

    /// <summary>Multiplies by a number.</summary>
    public static Tensor operator *(double a, Tensor b) => Call("aten::mul.Scalar", b, a);

    /// <summary>Element-wise quotient.</summary>
    public static Tensor operator /(Tensor a, Tensor b) => Call("aten::div.Tensor", a, b);

    /// <summary>Divides by a number.</summary>
    public static Tensor operator /(Tensor a, double b) => Call("aten::div.Scalar", a, b);

    /// <summary>this + scale * other.</summary>
    public Tensor Add(Tensor other, double scale) => Call("aten::add.Tensor", this, other, scale);

    /// <summary>this + scale * a * b, in one pass.</summary>
    public Tensor Addcmul(Tensor a, Tensor b, double scale = 1) => Call("aten::addcmul", this, a, b, scale);

    /// <summary>this + weight * (end - this).</summary>
    public Tensor Lerp(Tensor end, double weight) => Call("aten::lerp.Scalar", this, end, weight);

    /// <summary>this + weight * (end - this), element-wise weight.</summary>
    public Tensor Lerp(Tensor end, Tensor weight) => Call("aten::lerp.Tensor", this, end, weight);

    /// <summary>Exponential.</summary>
    public Tensor Exp() => Call("aten::exp", this);

    /// <summary>Natural logarithm.</summary>
    public Tensor Log() => Call("aten::log", this);

    /// <summary>Square root.</summary>
    public Tensor Sqrt() => Call("aten::sqrt", this);

    /// <summary>Reciprocal of the square root.</summary>
    public Tensor Rsqrt() => Call("aten::rsqrt", this);

    /// <summary>Reciprocal.</summary>
    public Tensor Reciprocal() => Call("aten::reciprocal", this);

    /// <summary>Absolute value.</summary>
    public Tensor Abs() => Call("aten::abs", this);

    /// <summary>Sine.</summary>
    public Tensor Sin() => Call("aten::sin", this);

    /// <summary>Cosine.</summary>
    public Tensor Cos() => Call("aten::cos", this);

    /// <summary>Hyperbolic tangent.</summary>
    public Tensor Tanh() => Call("aten::tanh", this);

    /// <summary>Logistic function.</summary>
    public Tensor Sigmoid() => Call("aten::sigmoid", this);

    /// <summary>x * sigmoid(x).</summary>
    public Tensor Silu() => Call("aten::silu", this);

    /// <summary>x * tanh(log(1 + e^x)).</summary>
    public Tensor Mish() => Call("aten::mish", this);

    /// <summary>log(1 + e^x).</summary>
    public Tensor Softplus() => Call("aten::softplus", this);

    /// <summary>max(x, 0).</summary>
    public Tensor Relu() => Call("aten::relu", this);

    /// <summary>x for x &gt; 0, else slope * x.</summary>
    public Tensor LeakyRelu(double slope = 0.01) => Call("aten::leaky_relu", this, slope);

    /// <summary>Gaussian error linear unit; exact, or its tanh approximation.</summary>
    public Tensor Gelu(bool approximate = false) => Call("aten::gelu", this, approximate ? "tanh" : "none");

    /// <summary>Each element to a power.</summary>
    public Tensor Pow(double exponent) => Call("aten::pow.Tensor_Scalar", this, exponent);

    /// <summary>Clamps every element to a range.</summary>
    public Tensor Clamp(double low, double high) => Call("aten::clamp", this, low, high);

    /// <summary>Raises every element to a minimum.</summary>
    public Tensor ClampMin(double low) => Call("aten::clamp_min", this, low);

    /// <summary>Rounds half to even.</summary>
    public Tensor Round() => Call("aten::round", this);

    /// <summary>Rounds down.</summary>
    public Tensor Floor() => Call("aten::floor", this);

    /// <summary>Element-wise maximum.</summary>
    public Tensor Maximum(Tensor other) => Call("aten::maximum", this, other);

    /// <summary>Element-wise minimum.</summary>
    public Tensor Minimum(Tensor other) => Call("aten::minimum", this, other);

    /// <summary>True where the elements are equal.</summary>
    public Tensor Eq(Tensor other) => Call("aten::eq.Tensor", this, other);

    /// <summary>True where an element equals the number.</summary>
    public Tensor Eq(double other) => Call("aten::eq.Scalar", this, other);

    /// <summary>True where an element is larger than the number.</summary>
    public Tensor Gt(double other) => Call("aten::gt.Scalar", this, other);

    /// <summary>True where an element is at most the other.</summary>
    public Tensor Le(Tensor other) => Call("aten::le.Tensor", this, other);

    /// <summary>True where an element is finite.</summary>
    public Tensor IsFinite() => Call("aten::isfinite", this);

    /// <summary>A copy that has the value where the mask is true.</summary>
    public Tensor MaskedFill(Tensor mask, double value) => Call("aten::masked_fill.Scalar", this, mask, value);
}

/// <content>Element-wise operators in place.</content>
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

    /// <summary>Clamps every element to a range, in place.</summary>
    public Tensor ClampInPlace(double low, double high) => RunInPlace("aten::clamp_", this, low, high);

    /// <summary>Copies the elements of another tensor, with broadcasting and type conversion.</summary>
    /// <param name="source">Tensor to copy from.</param>
    /// <param name="wait">False copies asynchronously between page-locked memory and a GPU.</param>
    public Tensor CopyFrom(Tensor source, bool wait = true) => RunInPlace("aten::copy_", this, source, !wait);

    /// <summary>Sets every element.</summary>
    public Tensor Fill(double value) => RunInPlace("aten::fill_.Scalar", this, value);

    /// <summary>Sets every element to zero.</summary>
    public Tensor Zero() => RunInPlace("aten::zero_", this);

    /// <summary>Fills with normal samples.</summary>
    public Tensor NormalInPlace(double mean, double std, RandomGenerator generator) =>
        RunInPlace("aten::normal_", this, mean, std, generator);

    /// <summary>Fills with uniform samples from [low, high).</summary>
    public Tensor UniformInPlace(double low, double high, RandomGenerator generator) =>
        RunInPlace("aten::uniform_", this, low, high, generator);
}
