namespace PyramidFlow.Torch;

/// <summary>y = x W^T + b; weight [out, in].</summary>
public sealed class Linear : Module
{
    private readonly Parameter weight;
    private readonly Parameter? bias;

    // One scale for each output if the weight is int8; see Int8Weight.
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

    /// <summary>Declares the layer with its own initialiser; the bias, if any, starts at zero.</summary>
    public Linear(long inputs, long outputs, Initializer initializer, bool bias = true)
    {
        weight = new Parameter([outputs, inputs], initializer);
        this.bias = bias ? new Parameter([outputs], Initializers.Zeros) : null;
    }

    /// <summary>Weight, [out, in].</summary>
    public Parameter Weight => weight;

    /// <summary>Bias, [out], or null.</summary>
    public Parameter? Bias => bias;

    /// <summary>
    /// Adds a low-rank adapter (LoRA, arXiv 2106.09685): y + scale * x A^T B^T with trainable A and B. B starts at zero, so the
    /// result does not change at first.
    /// </summary>
    /// <param name="rank">Rows of A and columns of B; at least 1.</param>
    /// <param name="scale">Factor of the adapter.</param>
    /// <param name="generator">Random generator for A.</param>
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

    /// <summary>Applies the layer to the last dimension.</summary>
    public Tensor Forward(Tensor x)
    {
        var y = weightScale is null ? x.Linear(weight, bias?.Value) : ForwardInt8(x, weightScale);
        return down is null ? y : y + LowRank(x);
    }

    /// <summary>
    /// Applies the layer to parts of the last dimension without concatenating them, which would copy them.
    /// </summary>
    /// <param name="parts">[..., n] each; the sum of all n is the number of inputs.</param>
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

    // The dequantised matrix exists only during the product.
    private Tensor ForwardInt8(Tensor x, Parameter scales)
    {
        using var scope = new TensorScope();
        return scope.Keep(x.Linear(new Int8Weight(weight, scales).Dequantize(x.Type), bias?.Value));
    }

    // Computed in the element type of A and B, which may be wider than that of the layer.
    private Tensor LowRank(Tensor x) =>
        (x.To(down!.Value.Type).Linear(down, null).Linear(up!, null) * lowRankScale).To(x.Type);
}

/// <summary>
/// A matrix quantised to int8: integers from -127 to 127 and one scale for each row, that is, for each output of the layer. Every
/// scale is exact in bfloat16, so no floating point type loses precision.
/// </summary>
/// <param name="Codes">Int8 [out, in].</param>
/// <param name="Scales">Float32 [out].</param>
public readonly record struct Int8Weight(Tensor Codes, Tensor Scales)
{
    private const double Largest = 127;

    /// <summary>Quantises a matrix. The tensors belong to the caller's scope.</summary>
    /// <param name="weight">[out, in], any floating point type.</param>
    public static Int8Weight Quantize(Tensor weight)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var wide = weight.To(ElementType.Float32);
        var largest = wide.Abs().Amax([1]);                                                       // [out]
        // A row of zeros can have any scale but zero.
        var scales = (largest * (1 / Largest)).MaskedFill(largest.Eq(0), 1).To(ElementType.BFloat16).To(ElementType.Float32);
        var codes = (wide / scales.Unsqueeze(1)).Round().Clamp(-Largest, Largest).To(ElementType.Int8);
        return new Int8Weight(scope.Keep(codes), scope.Keep(scales));
    }

    /// <summary>Restores the matrix, [out, in].</summary>
    public Tensor Dequantize(ElementType type)
    {
        using var scope = new TensorScope();
        return scope.Keep(Codes.To(type).MulInPlace(Scales.To(type).Unsqueeze(1)));
    }

    /// <summary>Relative quantisation error: the norm of the difference to the original matrix over the norm of the original.</summary>
    public double Error(Tensor weight)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var wide = weight.To(ElementType.Float32);
        var norm = wide.Norm().Item();
        return norm == 0 ? 0 : (Dequantize(ElementType.Float32) - wide).Norm().Item() / norm;
    }
}
