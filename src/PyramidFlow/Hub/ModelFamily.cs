using System.Text.Json;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub;

/// <summary>The two released kinds of diffusion transformer; text encoders and statistics of latents go with them.</summary>
public enum ModelFamily
{
    /// <summary><c>pyramid_flux</c>: one CLIP and T5.</summary>
    Flux,

    /// <summary><c>pyramid_mmdit</c>, after Stable Diffusion 3: two CLIPs with projection and T5.</summary>
    Mmdit,
}

/// <summary>Facts about model families.</summary>
public static class ModelFamilies
{
    /// <summary>What diffusion transformers are called in their <c>config.json</c>.</summary>
    internal const string FluxClass = "PyramidFluxTransformer", MmditClass = "PyramidDiffusionMMDiT";

    /// <summary>Tells the family from a diffusion transformer's <c>config.json</c>: by its class name, else by its keys.</summary>
    /// <exception cref="CheckpointException">The file is missing, is not JSON or describes neither family.</exception>
    public static ModelFamily Read(string configFile) =>
        Of(ConfigFile.Read(configFile, HubJson.Default.DictionaryStringJsonElement), configFile);

    /// <summary>The same from JSON in memory.</summary>
    /// <param name="utf8Json">The JSON object.</param>
    /// <param name="file">Name of the file in error messages.</param>
    /// <exception cref="CheckpointException">It is not JSON or describes neither family.</exception>
    public static ModelFamily Parse(ReadOnlyMemory<byte> utf8Json, string file) =>
        Of(ConfigFile.Parse(utf8Json, file, HubJson.Default.DictionaryStringJsonElement), file);

    /// <summary>Names of the tokenizer and text encoder folders, in the order of the released layout; T5's is the last.</summary>
    public static IReadOnlyList<(string Tokenizer, string TextEncoder)> TextComponents(this ModelFamily family) =>
        family == ModelFamily.Flux
            ? [("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")]
            : [("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"), ("tokenizer_3", "text_encoder_3")];

    private static ModelFamily Of(Dictionary<string, JsonElement> keys, string configFile)
    {
        var name = keys.TryGetValue("_class_name", out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
        return name switch
        {
            FluxClass => ModelFamily.Flux,
            MmditClass => ModelFamily.Mmdit,
            null when keys.ContainsKey("axes_dims_rope") || keys.ContainsKey("num_single_layers") => ModelFamily.Flux,
            null when keys.ContainsKey("caption_projection_dim") => ModelFamily.Mmdit,
            null => throw new CheckpointException($"{configFile} has neither _class_name nor the keys of a known diffusion transformer"),
            _ => throw ConfigFile.Fault(configFile, "_class_name",
                $"is {name}; known are {FluxClass} and {MmditClass}"),
        };
    }
}
