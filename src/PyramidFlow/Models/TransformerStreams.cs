using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Weights of a transformer that are in memory only while they work.</summary>
/// <param name="Modulation">Those of the blocks' adaptive norms, which run ahead of the blocks for many timesteps at once.</param>
/// <param name="Blocks">The blocks' others; first those with two streams, then those with one.</param>
internal sealed record TransformerStreams(WeightStream Modulation, WeightStream Blocks)
{
    internal static TransformerStreams Of(TransformerParts parts)
    {
        List<Module> blocks = [.. parts.Joint, .. parts.Single];
        return new TransformerStreams(new WeightStream([.. blocks.Select(Adaptive)]), new WeightStream([.. blocks.Select(Others)]));
    }

    private static IReadOnlyList<Parameter> Adaptive(Module block) =>
        [.. block.NamedModules().Where(named => named.Module is AdaLayerNorm).SelectMany(named => Weights(named.Module))];

    private static IReadOnlyList<Parameter> Others(Module block) => [.. Weights(block).Except(Adaptive(block))];

    private static IEnumerable<Parameter> Weights(Module module) => module.NamedParameters().Select(named => named.Parameter);
}
