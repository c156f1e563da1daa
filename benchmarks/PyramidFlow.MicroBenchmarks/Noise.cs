using BenchmarkDotNet.Attributes;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;

namespace PyramidFlow.MicroBenchmarks;

/// <summary>Noise of a unit of 1280x768: a latent of [1, 16, 1, 96, 160].</summary>
[MemoryDiagnoser]
public class Noise
{
    private static readonly long[] Shape = [1, 16, 1, 96, 160];

    private RandomGenerator generator = null!;

    /// <summary>Makes the source of draws.</summary>
    [GlobalSetup]
    public void SetUp() => generator = new RandomGenerator(1);

    /// <summary>Frees it.</summary>
    [GlobalCleanup]
    public void CleanUp() => generator.Dispose();

    /// <summary>Independent normal draws, the part that no form of block noise can leave out.</summary>
    [Benchmark(Baseline = true)]
    public void Normal() => Tensor.Randn(Shape, generator).Dispose();

    /// <summary>Noise whose 2x2 blocks are correlated.</summary>
    [Benchmark]
    public void Block() => BlockNoise.Draw(Shape, BlockNoise.MaxGamma, generator).Dispose();
}
