using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

/// <summary>A small random model and inputs for it.</summary>
internal static class Tiny
{
    internal static PyramidFluxConfig Config { get; } = new(InChannels: 16, NumLayers: 2, NumSingleLayers: 2, AttentionHeadDim: 16,
        NumAttentionHeads: 2, JointAttentionDim: 12, PooledProjectionDim: 8, AxesDimsRope: [4, 6, 6]);

    internal static PyramidMmditConfig MmditConfig { get; } = new(InChannels: 4, NumLayers: 3, AttentionHeadDim: 16, NumAttentionHeads: 2,
        CaptionProjectionDim: 32, JointAttentionDim: 12, PooledProjectionDim: 8, SampleSize: 32, PosEmbedMaxSize: 16);

    internal static PyramidTransformer Flux(RandomGenerator generator) => Build(Config, generator);

    internal static PyramidTransformer Build(ModelFamily family, RandomGenerator generator) =>
        Build(family == ModelFamilies.Flux ? Config : MmditConfig, generator);

    internal static PyramidTransformer Build(ITransformerConfig config, RandomGenerator generator)
    {
        var model = config.Build();
        model.Initialize(generator);
        using var noGrad = NoGrad.Begin();
        // Modulation and output start at zero, where every input gives the same.
        foreach (var (_, parameter) in model.NamedParameters().Where(p => p.Parameter.Trainable))
            parameter.Value.AddInPlace(Tensor.Randn(parameter.Shape, generator), 0.1);
        return model;
    }

    internal static TextCondition Text(RandomGenerator generator, int[] lengths)
    {
        var mask = Tensor.From(lengths.SelectMany(n => Enumerable.Range(0, 9).Select(i => i < n ? 1L : 0L)).ToArray(), lengths.Length, 9);
        return new TextCondition(Tensor.Randn([lengths.Length, 9, 12], generator), mask, Tensor.Randn([lengths.Length, 8], generator));
    }

    /// <summary>The clips of one unit at one of three stages: history at rising resolution, then the unit; 16x24 at most.</summary>
    internal static Tensor[] Clips(RandomGenerator generator, int unit, int stage)
    {
        var sizes = new List<(int Time, int Stage)>();
        for (var s = stage; s > 0 && sizes.Count < unit; s--)
            sizes.Insert(0, (1, s));
        if (unit > sizes.Count)
            sizes.Insert(0, (unit - sizes.Count, 0));
        sizes.Add((1, stage));
        return [.. sizes.Select(s => Tensor.Randn([2, 4, s.Time, 4 << s.Stage, 6 << s.Stage], generator))];
    }
}
