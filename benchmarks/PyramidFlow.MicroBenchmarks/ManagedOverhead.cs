using BenchmarkDotNet.Attributes;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.MicroBenchmarks;

/// <summary>
/// Passes of a transformer with as many blocks and operators as the released one but next to no width, so that what remains is the
/// way to libtorch's kernels and back: more than managed code's part of a step, as libtorch's own time for a small operator is in it.
/// </summary>
[MemoryDiagnoser]
public class ManagedOverhead
{
    private const int Rows = 2, TextTokens = 8;

    private static readonly PyramidFluxConfig Narrow = new(InChannels: 16, NumLayers: 8, NumSingleLayers: 16, AttentionHeadDim: 8,
        NumAttentionHeads: 1, JointAttentionDim: 8, PooledProjectionDim: 8, AxesDimsRope: [2, 2, 4]);

    private TensorScope scope = null!;
    private PyramidTransformer model = null!;
    private TextCondition text = null!;
    private Tensor timestep = null!, noisy = null!;
    private Tensor[] history = null!;
    private PrefixCache prefix = null!;

    /// <summary>Makes the model and its inputs.</summary>
    [GlobalSetup]
    public void SetUp()
    {
        using var generator = new RandomGenerator(1);
        scope = new TensorScope();
        model = Narrow.Build();
        model.Initialize(generator);
        text = new TextCondition(Tensor.Randn([Rows, TextTokens, Narrow.JointAttentionDim], generator),
            TextMask.OfLengths([TextTokens / 2, TextTokens]), Tensor.Randn([Rows, Narrow.PooledProjectionDim], generator));
        timestep = Tensor.Full([1], 500);
        noisy = Clip();
        history = [Clip(), Clip(), Clip()];
        prefix = model.ComputePrefix(history, ClipSize.Of(noisy), text, timestep);

        Tensor Clip() => Tensor.Randn([Rows, Narrow.LatentChannels, 1, 4, 4], generator);
    }

    /// <summary>Frees them.</summary>
    [GlobalCleanup]
    public void CleanUp()
    {
        prefix.Dispose();
        model.Dispose();
        scope.Dispose();
    }

    /// <summary>Text and history for one timestep.</summary>
    [Benchmark]
    public void PrefixPass()
    {
        using var inner = new TensorScope();
        using var made = model.ComputePrefix(history, ClipSize.Of(noisy), text, timestep);
    }

    /// <summary>The noisy unit against them.</summary>
    [Benchmark]
    public void UnitPass()
    {
        using var noGrad = NoGrad.Begin();
        using var inner = new TensorScope();
        model.ForwardUnit(noisy, 0, prefix);
    }
}
