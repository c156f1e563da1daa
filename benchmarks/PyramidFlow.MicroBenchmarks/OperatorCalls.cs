using BenchmarkDotNet.Attributes;
using PyramidFlow.Torch;

namespace PyramidFlow.MicroBenchmarks;

/// <summary>What a call of an operator costs beside libtorch's own time for it.</summary>
[MemoryDiagnoser]
public class OperatorCalls
{
    private const int Repeated = 1000;

    private Tensor a = null!, b = null!;

    /// <summary>Elements of each tensor.</summary>
    [Params(1, 1024)]
    public int Elements { get; set; }

    /// <summary>Makes the tensors.</summary>
    [GlobalSetup]
    public void SetUp() => (a, b) = (Tensor.Ones([Elements]), Tensor.Ones([Elements]));

    /// <summary>Frees them.</summary>
    [GlobalCleanup]
    public void CleanUp()
    {
        a.Dispose();
        b.Dispose();
    }

    /// <summary>An addition in C++, in a loop that is called once: libtorch's own time.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = Repeated)]
    public void AddWithinLibtorch() => Operator.RepeatAdd(a, b, Repeated);

    /// <summary>An addition from C#, its result disposed.</summary>
    [Benchmark]
    public void Add() => (a + b).Dispose();
}
