namespace PyramidFlow.Torch;

/// <summary>y = x W^T + b; weight [out, in].</summary>
public sealed class Linear : Module
{
    private readonly Parameter weight;
    private readonly Parameter? bias;

    // A factor for each output where the weight is int8; see Int8Weight.
    private Parameter? weightScale;

    [Key("lora_A.weight")]
    private Parameter? down;

    [Key("lora_B.weight")]
    private Parameter? up;

    private double lowRankScale;

    /// <summary>Declares the layer.</summary>
    public Linear(long inputs, long outputs, bool bias = true)
    {
        weight = new Parameter([outputs, inputs], Initializers.FanIn(inputs));
        this.bias = bias ? new Parameter([outputs], Initializers.FanIn(inputs)) : null;
    }

    /// <summary>Declares the layer with an initialiser of its own; the bias, if any, starts at zero.</summary>
    public Linear(long inputs, long outputs, Initializer initializer, bool bias = true)
    {
        weight = new Parameter([outputs, inputs], initializer);
        this.bias = bias ? new Parameter([outputs], Initializers.Zeros) : null;
    }

    /// <summary>Weight, [out, in].</summary>
    public Parameter Weight => weight;

    /// <summary>Bias, [out], if there is one.</summary>
    public Parameter? Bias => bias;

    /// <summary>
    /// Adds a product of two small trainable matrices to the weight (LoRA, arXiv 2106.09685): y + scale * x A^T B^T. It adds
    /// nothing at first, for B starts at zero.
    /// </summary>
    /// <param name="rank">Rows of A and columns of B; at least 1.</param>
    /// <param name="scale">Factor of the product.</param>
    /// <param name="generator">Draws A.</param>
    public void AddLowRank(int rank, double scale, RandomGenerator generator)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var (outputs, inputs, device) = (weight.Shape[0], weight.Shape[1], weight.Value.Device);
        down = new Parameter([rank, inputs], Initializers.FanIn(inputs));
        up = new Parameter([outputs, rank], Initializers.Zeros);
        lowRankScale = scale;
        var a = Tensor.Empty(down.Shape);
        down.Fill(a, generator);
        (down.Value, up.Value) = (a.To(device), Tensor.Zeros(up.Shape, device: device));
    }

    /// <summary>Applies it to the last dimension.</summary>
    public Tensor Forward(Tensor x)
    {
        var y = weightScale is null ? x.Linear(weight, bias?.Value) : ForwardInt8(x, weightScale);
        return down is null ? y : y + LowRank(x);
    }

    /// <summary>
    /// Applies it to parts that lie side by side along the last dimension, without joining them, which would copy them.
    /// </summary>
    /// <param name="parts">[..., n] each; their n add up to the layer's inputs.</param>
    public Tensor Forward(params IReadOnlyList<Tensor> parts)
    {
        if (weightScale is not null)
            return Forward(Tensor.Cat([.. parts], -1));
        var weights = weight.Value.Split([.. parts.Select(part => part.Size(-1))], 1);
        var y = parts[^1].Linear(weights[^1], bias?.Value);
        for (var i = parts.Count - 2; i >= 0; i--)
            y = y + parts[i].Linear(weights[i], null);
        return down is null ? y : y + LowRank(Tensor.Cat([.. parts], -1));
    }

    /// <inheritdoc/>
    protected override void Adopt(Func<string, bool> holds) => weightScale = holds("weight_scale")
        ? new Parameter([weight.Shape[0]], Initializers.Ones) { Trainable = false }
        : null;

    // The matrix exists in the type of the computation only while it is used.
    private Tensor ForwardInt8(Tensor x, Parameter scales)
    {
        using var scope = new TensorScope();
        return scope.Keep(x.Linear(new Int8Weight(weight, scales).Dequantize(x.Type), bias?.Value));
    }

    // In the element type of the small matrices, which may be wider than the layer's.
    private Tensor LowRank(Tensor x) =>
        (x.To(down!.Value.Type).Linear(down, null).Linear(up!, null) * lowRankScale).To(x.Type);
}

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
