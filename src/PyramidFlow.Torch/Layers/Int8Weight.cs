namespace PyramidFlow.Torch;

/// <summary>
/// A matrix as whole numbers from -127 to 127 and one factor for each row, which is an output of its layer. Factors are
/// numbers that bfloat16 holds, so that nothing is lost when they are held in any type.
/// </summary>
/// <param name="Codes">Int8 [out, in].</param>
/// <param name="Scales">Float32 [out].</param>
public readonly record struct Int8Weight(Tensor Codes, Tensor Scales)
{
    private const double Largest = 127;

    /// <summary>Rounds a matrix. The tensors belong to the caller's scope.</summary>
    /// <param name="weight">[out, in], of any floating point type.</param>
    public static Int8Weight Of(Tensor weight)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var wide = weight.To(ElementType.Float32);
        var largest = wide.Abs().Amax([1]);                                                       // [out]
        // A row of zeros may have any factor but zero.
        var scales = (largest * (1 / Largest)).MaskedFill(largest.Eq(0), 1).To(ElementType.BFloat16).To(ElementType.Float32);
        var codes = (wide / scales.Unsqueeze(1)).Round().Clamp(-Largest, Largest).To(ElementType.Int8);
        return new Int8Weight(scope.Keep(codes), scope.Keep(scales));
    }

    /// <summary>The matrix again, [out, in].</summary>
    public Tensor Dequantize(ElementType type)
    {
        using var scope = new TensorScope();
        return scope.Keep(Codes.To(type).MulInPlace(Scales.To(type).Unsqueeze(1)));
    }

    /// <summary>How far it is from the matrix it was made of: the norm of the difference over that of the matrix.</summary>
    public double Error(Tensor weight)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var wide = weight.To(ElementType.Float32);
        var norm = wide.Norm().Item();
        return norm == 0 ? 0 : (Dequantize(ElementType.Float32) - wide).Norm().Item() / norm;
    }
}
