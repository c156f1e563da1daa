using System.Text;
using PyramidFlow.Hub;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models;

/// <summary>Reads the <c>config.json</c> of a diffusion transformer of whichever family.</summary>
public static class TransformerConfigs
{
    /// <summary>Reads and checks a checkpoint's file; values that the released system sets itself are set.</summary>
    /// <exception cref="CheckpointException">The file is missing, describes neither family, or a key is missing or impossible.</exception>
    public static ITransformerConfig Load(string path) => ModelFamilies.Read(path) switch
    {
        ModelFamily.Flux => PyramidFluxConfig.Load(path),
        _ => PyramidMmditConfig.Load(path),
    };

    /// <summary>Reads and checks the text of such a file, every value as it stands there.</summary>
    /// <param name="json">The text.</param>
    /// <param name="name">What to call it in an error.</param>
    /// <exception cref="CheckpointException">It describes neither family, or a key is missing or impossible.</exception>
    public static ITransformerConfig Parse(string json, string name) => ModelFamilies.Parse(Encoding.UTF8.GetBytes(json), name) switch
    {
        ModelFamily.Flux => PyramidFluxConfig.Parse(json, name),
        _ => PyramidMmditConfig.Parse(json, name),
    };
}
