using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Models;

namespace PyramidFlow.Testing;

/// <summary>A random transformer in bfloat16 for a tiny random miniFLUX checkpoint, as wide as a test needs.</summary>
internal static class WideTransformer
{
    private const int HeadWidth = 16;

    /// <summary>Replaces the transformer of a checkpoint.</summary>
    /// <param name="checkpoint">Folder of <see cref="RandomCheckpoint.Write"/>.</param>
    /// <param name="width">A multiple of 16.</param>
    /// <param name="cancellationToken">Stops the writing.</param>
    internal static void Write(string checkpoint, int width, CancellationToken cancellationToken)
    {
        var name = CheckpointNames.TransformerOf("384p");
        var tiny = (PyramidFluxConfig)TransformerConfigs.Load(Path.Combine(checkpoint, name, ComponentFolder.ConfigName));
        var config = tiny with { AttentionHeadDim = HeadWidth, NumAttentionHeads = width / HeadWidth };
        Directory.Delete(Path.Combine(checkpoint, name), recursive: true);
        new RandomPart(name, config.ClassName, config.ToJson(), config.Build()).Write(checkpoint, new RandomWeights(1, (_, _) => { }, cancellationToken));
    }
}
