using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Configuration of a diffusion transformer.</summary>
public interface ITransformerConfig
{
    /// <summary>Width of the model.</summary>
    long Dim { get; }

    /// <summary>Attention heads; they divide the width.</summary>
    long Heads { get; }

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

    /// <summary><c>_class_name</c> of the model in a <c>config.json</c>, which tells its family.</summary>
    string ClassName { get; }

    /// <summary>Outputs of the adaptive norms of all blocks, in widths of the model.</summary>
    long ModulationOutputs { get; }

    /// <summary>Unused keys of the file, kept unchanged.</summary>
    Dictionary<string, JsonElement>? Others { get; }

    /// <summary>Declares the model; it has no weights until they are loaded or initialised.</summary>
    PyramidTransformer Build();

    /// <summary>The same model with fewer blocks, for measurements.</summary>
    /// <param name="count">1 to <see cref="Blocks"/>.</param>
    ITransformerConfig WithBlocks(int count);

    /// <summary>The text of a <c>config.json</c>.</summary>
    string ToJson();
}

/// <summary>Reads the <c>config.json</c> of a diffusion transformer of any family.</summary>
public static class TransformerConfigs
{
    /// <summary>Reads and checks the file of a checkpoint; sets the values that the released system sets itself.</summary>
    /// <exception cref="CheckpointException">The file is missing, describes no known family, or a key is missing or impossible.</exception>
    public static ITransformerConfig Load(string path) => ModelFamilies.Read(path).LoadConfig(path);

    /// <summary>Reads and checks the text of such a file, every value as it stands there.</summary>
    /// <param name="json">The text.</param>
    /// <param name="name">What to call it in an error.</param>
    /// <exception cref="CheckpointException">It describes no known family, or a key is missing or impossible.</exception>
    public static ITransformerConfig Parse(string json, string name) =>
        ModelFamilies.Parse(Encoding.UTF8.GetBytes(json), name).ParseConfig(json, name);
}

/// <summary>
/// Reads a transformer's configuration inside another JSON file. Values are not checked: the reader of the file does that
/// (<see cref="TransformerConfigs.Parse"/>), since it knows the file's name.
/// </summary>
public sealed class TransformerConfigConverter : JsonConverter<ITransformerConfig>
{
    /// <inheritdoc/>
    public override ITransformerConfig Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        using var document = JsonDocument.ParseValue(ref reader);
        var json = document.RootElement;
        return ModelFamilies.Parse(Encoding.UTF8.GetBytes(json.GetRawText()), "the transformer").DeserializeConfig(json);
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, ITransformerConfig value, JsonSerializerOptions options) =>
        writer.WriteRawValue(value.ToJson());
}
