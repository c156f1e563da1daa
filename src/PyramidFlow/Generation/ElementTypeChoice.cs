using PyramidFlow.Torch;
using static System.FormattableString;

namespace PyramidFlow.Generation;

/// <summary>The element type that a run computes in, and why. This is the one place that decides it (<c>docs/decisions/0026</c>).</summary>
/// <param name="Type">The type.</param>
/// <param name="Reason">A clause, such as "products are 3.4 times as fast as in float32 here".</param>
internal sealed record ElementTypeChoice(ElementType Type, string Reason)
{
    /// <summary>How many times as fast as in float32 products must be in bfloat16.</summary>
    internal const double LeastSpeedup = 1.5;

    /// <summary>Width below which a transformer spends most of its time outside products, which bfloat16 does not make faster.</summary>
    internal const long LeastWidth = 256;

    /// <summary>Chooses the type of a run. The speed of products is measured only where it decides.</summary>
    /// <param name="model">The checkpoint.</param>
    /// <param name="options">The options asked for.</param>
    public static ElementTypeChoice Of(PlannedModel model, PipelineOptions options)
    {
        if (options.Type is { } asked)
            return new(asked, "asked for");
        if (options.Device is { Type: not DeviceType.Cpu })
            return new(ElementType.BFloat16, "the usual type on a GPU");
        var stored = model.Sizes.Transformer;
        if (stored.Numbers != ElementType.BFloat16)
            return new(ElementType.Float32, stored.IsStored ? "the transformer's weights are not all bfloat16" : "the transformer's weights are not here, and so not their type");
        if (model.Transformer.Dim < LeastWidth)
            return new(ElementType.Float32, "so small a transformer is no faster in bfloat16");
        var speedup = options.NarrowSpeedup ?? ProductSpeed.Narrow();
        return speedup >= LeastSpeedup
            ? new(ElementType.BFloat16, Invariant($"products are {ProductSpeed.Tenths(speedup)} times as fast as in float32 here"))
            : new(ElementType.Float32, Invariant($"products in bfloat16 are {ProductSpeed.Tenths(speedup)} times as fast here, and {LeastSpeedup} times would be worth it"));
    }

    /// <summary>The options with the type chosen.</summary>
    /// <param name="options">The options asked for.</param>
    public PipelineOptions In(PipelineOptions options) => options with { Type = Type };

    /// <summary>Such as "bfloat16: products are 3.4 times as fast as in float32 here".</summary>
    public override string ToString() => $"{Type.ToString().ToLowerInvariant()}: {Reason}";
}

/// <summary>One product of a transformer block's linear layers, to be timed.</summary>
internal sealed record BlockProduct(Tensor Input, Tensor Weight, Tensor Bias)
{
    /// <summary>Operations, 2 for each multiply-add.</summary>
    internal double Flops => 2.0 * Input.Size(0) * Weight.ElementCount;

    /// <summary>The products of a block with random numbers: from the width to the width, to 4 widths, and back.</summary>
    /// <param name="tokens">Rows.</param>
    /// <param name="width">Width of the transformer.</param>
    /// <param name="type">Element type.</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="generator">Source of the numbers.</param>
    internal static IReadOnlyList<BlockProduct> Of(long tokens, long width, ElementType type, Device device, RandomGenerator generator)
    {
        return [From(width, width), From(width, 4 * width), From(4 * width, width)];

        BlockProduct From(long inputs, long outputs) => new(Random(tokens, inputs), Random(outputs, inputs), Tensor.Zeros([outputs], type, device));

        Tensor Random(long rows, long columns) => Tensor.Randn([rows, columns], generator).To(device).To(type);
    }

    /// <summary>One product of ones, which are there at once and take a CPU as long as other numbers.</summary>
    /// <param name="tokens">Rows.</param>
    /// <param name="inputs">Columns.</param>
    /// <param name="outputs">Columns of the result.</param>
    /// <param name="type">Element type.</param>
    internal static BlockProduct OfOnes(long tokens, long inputs, long outputs, ElementType type) =>
        new(Tensor.Ones([tokens, inputs], type), Tensor.Ones([outputs, inputs], type), Tensor.Zeros([outputs], type));

    /// <summary>Computes it.</summary>
    internal Tensor Compute() => Input.Linear(Weight, Bias);
}

/// <summary>The speed of matrix products on this CPU.</summary>
internal static class ProductSpeed
{
    // As small as shows the ratio of the released models' products: fresh memory costs more time than the products.
    private const long Tokens = 128, Width = 256;
    private const int Runs = 4;

    private static readonly Lock Gate = new();
    private static double? narrow;

    /// <summary>How many times as fast as in float32 products are in bfloat16; measured once in a process, so that all of its runs have one type.</summary>
    internal static double Narrow()
    {
        lock (Gate)
            return narrow ??= Measure();
    }

    /// <summary>A ratio for people, rounded down, so that one below a limit does not read like the limit.</summary>
    internal static string Tenths(double ratio) => Invariant($"{Math.Floor(10 * ratio) / 10:0.0}");

    /// <summary>
    /// Measures it on one thread, whatever the number of the run: the ratio is the same, and two threads that wait for each other beside other programs
    /// measure those programs.
    /// </summary>
    internal static double Measure()
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var own = new ThreadCount(1);
        var wide = BlockProduct.OfOnes(Tokens, Width, 4 * Width, ElementType.Float32);
        var narrow = BlockProduct.OfOnes(Tokens, Width, 4 * Width, ElementType.BFloat16);
        Seconds(wide);
        Seconds(narrow);
        // Both types take turns, so that other programs slow both.
        var (slow, fast) = (double.MaxValue, double.MaxValue);
        for (var run = 0; run < Runs; run++)
            (slow, fast) = (Math.Min(slow, Seconds(wide)), Math.Min(fast, Seconds(narrow)));
        return slow / fast;

        static double Seconds(BlockProduct product) => Timing.Once(Device.Cpu, () => product.Compute());
    }
}
