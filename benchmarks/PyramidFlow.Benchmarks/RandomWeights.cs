using PyramidFlow.Torch;

namespace PyramidFlow.Benchmarks;

/// <summary>Weights for a model of real size within seconds: one block of random numbers, copied into all of them.</summary>
internal static class RandomWeights
{
    // Small enough that signals stay finite through all blocks.
    private const double Std = 0.02;
    private const long PoolSize = 1L << 24;

    internal static void Fill(Module model, ElementType type, Device device)
    {
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(1);
        using var scope = new TensorScope();
        var largest = model.NamedParameters().Max(p => p.Parameter.ElementCount);
        var pool = Tensor.Randn([Math.Min(largest, PoolSize)], generator).MulInPlace(Std).To(type).To(device);
        foreach (var (_, parameter) in model.NamedParameters())
        {
            using var inner = new TensorScope();
            var value = Tensor.Empty(parameter.Shape, type, device);
            var flat = value.Reshape(-1);
            for (long at = 0, total = flat.Size(0); at < total; at += pool.Size(0))
            {
                var count = Math.Min(pool.Size(0), total - at);
                flat.Narrow(0, at, count).CopyFrom(pool.Narrow(0, 0, count));
            }

            parameter.Value = value;
        }
    }
}
