using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models.Text;

/// <summary>A CLIP text encoder's <c>config.json</c>.</summary>
/// <param name="VocabSize">Rows of the token table; ids are 0 to one less.</param>
/// <param name="HiddenSize">Width of the residual stream and of the pooled output (768 in CLIP-L, 1280 in CLIP-G).</param>
/// <param name="IntermediateSize">Hidden width of the feed-forward part.</param>
/// <param name="NumHiddenLayers">Number of blocks.</param>
/// <param name="NumAttentionHeads">Heads of each attention; they divide <paramref name="HiddenSize"/>.</param>
/// <param name="MaxPositionEmbeddings">Most tokens it takes, start and end among them (77).</param>
/// <param name="EosTokenId">Id of the end token; 2, which old configs say wrongly, stands for "the largest id of the
/// row".</param>
/// <param name="HiddenAct">Activation of the feed-forward part.</param>
/// <param name="LayerNormEps">Added to the variance in the norms.</param>
/// <param name="ProjectionDim">Width of the projected embedding; only the model with projection needs it.</param>
public sealed record ClipTextConfig(
    long VocabSize,
    long HiddenSize,
    long IntermediateSize,
    int NumHiddenLayers,
    long NumAttentionHeads,
    int MaxPositionEmbeddings,
    long EosTokenId,
    string HiddenAct = "quick_gelu",
    double LayerNormEps = 1e-5,
    long? ProjectionDim = null)
{
    /// <summary>Keys of the file that the encoder has no use for.</summary>
    [JsonExtensionData]
    [JsonInclude]
    public Dictionary<string, JsonElement>? Others { get; internal set; }

    /// <summary>Reads and checks a <c>config.json</c>.</summary>
    /// <exception cref="CheckpointException">A key is missing or its value impossible; the message names file and key.</exception>
    public static ClipTextConfig Read(string path) => ConfigFile.Read(path, TextEncoderJson.Default.ClipTextConfig).Check(path);

    /// <summary>Reads and checks a config in memory.</summary>
    /// <param name="utf8Json">The JSON object.</param>
    /// <param name="file">What to call it in an error.</param>
    /// <exception cref="CheckpointException">As <see cref="Read"/>.</exception>
    public static ClipTextConfig Parse(ReadOnlyMemory<byte> utf8Json, string file) =>
        ConfigFile.Parse(utf8Json, file, TextEncoderJson.Default.ClipTextConfig).Check(file);

    internal Func<Tensor, Tensor> FindActivation() => Activation.Find(HiddenAct)
        ?? throw new ArgumentException($"no activation is called {HiddenAct}: use {Activation.Known}");

    private ClipTextConfig Check(string file)
    {
        ConfigFile.RequirePositive(file, ("vocab_size", VocabSize), ("hidden_size", HiddenSize),
            ("intermediate_size", IntermediateSize), ("num_hidden_layers", NumHiddenLayers),
            ("num_attention_heads", NumAttentionHeads), ("max_position_embeddings", MaxPositionEmbeddings),
            ("layer_norm_eps", LayerNormEps), ("projection_dim", ProjectionDim ?? 1));
        if (HiddenSize % NumAttentionHeads != 0)
        {
            throw ConfigFile.Fault(file, "num_attention_heads",
                $"is {NumAttentionHeads}; it must divide hidden_size {HiddenSize}");
        }

        if (EosTokenId < 0 || EosTokenId >= VocabSize)
            throw ConfigFile.Fault(file, "eos_token_id", $"is {EosTokenId}; ids go from 0 to {VocabSize - 1}");
        if (Activation.Find(HiddenAct) is null)
            throw ConfigFile.Fault(file, "hidden_act", $"is {HiddenAct}; known activations are {Activation.Known}");
        return this;
    }
}
