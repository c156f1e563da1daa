using BenchmarkDotNet.Attributes;
using PyramidFlow.Torch;

namespace PyramidFlow.MicroBenchmarks;

/// <summary>Ten tensors that a scope frees, and ten that are disposed one by one.</summary>
[MemoryDiagnoser]
public class Scopes
{
    private const int Count = 10;

    private Tensor x = null!;

    /// <summary>Makes the tensor.</summary>
    [GlobalSetup]
    public void SetUp() => x = Tensor.Ones([1]);

    /// <summary>Frees it.</summary>
    [GlobalCleanup]
    public void CleanUp() => x.Dispose();

    /// <summary>Without a scope.</summary>
    [Benchmark(Baseline = true)]
    public void TenTensors()
    {
        for (var i = 0; i < Count; i++)
            (x + x).Dispose();
    }

    /// <summary>The same in a scope.</summary>
    [Benchmark]
    public void ScopeOfTenTensors()
    {
        using var scope = new TensorScope();
        for (var i = 0; i < Count; i++)
            _ = x + x;
    }
}
