using System.Text.Json;

namespace PyramidFlow.Models;

/// <summary>What a pipeline or trainer needs to know of a diffusion transformer before it is built.</summary>
public interface ITransformerConfig
{
    /// <summary>Width of the model.</summary>
    long Dim { get; }

    /// <summary>Number of blocks, of whatever kind.</summary>
    int Blocks { get; }

    /// <summary>Channels of the latents it works on.</summary>
    long LatentChannels { get; }

    /// <summary>Width of the text tokens.</summary>
    long JointAttentionDim { get; }

    /// <summary>Width of the pooled text vector.</summary>
    long PooledProjectionDim { get; }

    /// <summary>Whether a latent frame attends to itself and earlier ones only.</summary>
    bool UseTemporalCausal { get; }

    /// <summary>Most patches of 2x2 latent pixels on a side of a frame; null where there is no limit.</summary>
    int? MaxPatches { get; }

    /// <summary>What the released system calls the model in a <c>config.json</c>.</summary>
    string ClassName { get; }

    /// <summary>Keys of the file that the model has no use for, kept as they were.</summary>
    Dictionary<string, JsonElement>? Others { get; }

    /// <summary>Declares the model; it has no weights until it is loaded or initialised.</summary>
    /// <param name="attention">How it computes attention; null is the default.</param>
    PyramidTransformer Build(AttentionSettings? attention = null);

    /// <summary>The text of a <c>config.json</c>.</summary>
    string ToJson();
}
