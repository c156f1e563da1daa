using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models.Text;

/// <summary>A T5 encoder's <c>config.json</c>.</summary>
/// <param name="VocabSize">Rows of the token table; ids are 0 to one less.</param>
/// <param name="DModel">Width of the residual stream and of the output (4096 in the XXL model).</param>
/// <param name="DKv">Width of one attention head.</param>
/// <param name="DFf">Hidden width of the feed-forward part.</param>
/// <param name="NumLayers">Number of blocks.</param>
/// <param name="NumHeads">Heads of each attention; heads * <paramref name="DKv"/> need not equal <paramref name="DModel"/>.</param>
/// <param name="RelativeAttentionNumBuckets">Buckets of relative positions, half of them for each direction.</param>
/// <param name="RelativeAttentionMaxDistance">Distance from which all positions share the last bucket.</param>
/// <param name="LayerNormEpsilon">Added to the mean square in the norms.</param>
/// <param name="FeedForwardProj">Feed-forward form: an activation, or <c>gated-</c> and one; <c>gated-gelu</c> means the
/// tanh form.</param>
/// <param name="DenseActFn">Activation; when given it overrides the one in <paramref name="FeedForwardProj"/>.</param>
/// <param name="IsGatedAct">Whether the feed-forward part is gated; when given it overrides
/// <paramref name="FeedForwardProj"/>.</param>
public sealed record T5EncoderConfig(
    long VocabSize,
    long DModel,
    long DKv,
    long DFf,
    int NumLayers,
    long NumHeads,
    long RelativeAttentionNumBuckets = 32,
    long RelativeAttentionMaxDistance = 128,
    double LayerNormEpsilon = 1e-6,
    string? FeedForwardProj = null,
    string? DenseActFn = null,
    bool? IsGatedAct = null)
{
    /// <summary>Keys of the file that the encoder has no use for.</summary>
    [JsonExtensionData]
    [JsonInclude]
    public Dictionary<string, JsonElement>? Others { get; internal set; }

    /// <summary>Whether the feed-forward part multiplies two projections.</summary>
    [JsonIgnore]
    public bool Gated => IsGatedAct ?? FeedForwardProj?.StartsWith("gated-", StringComparison.Ordinal) ?? false;

    /// <summary>Name of the activation in force; relu when the file names none, as T5 v1.0 does.</summary>
    [JsonIgnore]
    public string ActivationName => DenseActFn
        ?? (FeedForwardProj == "gated-gelu" ? "gelu_new" : FeedForwardProj?.Split('-')[^1]) ?? "relu";

    /// <summary>Reads and checks a <c>config.json</c>.</summary>
    /// <exception cref="CheckpointException">A key is missing or its value impossible; the message names file and key.</exception>
    public static T5EncoderConfig Read(string path) => ConfigFile.Read(path, TextEncoderJson.Default.T5EncoderConfig).Check(path);

    /// <summary>Reads and checks a config in memory.</summary>
    /// <param name="utf8Json">The JSON object.</param>
    /// <param name="file">What to call it in an error.</param>
    /// <exception cref="CheckpointException">As <see cref="Read"/>.</exception>
    public static T5EncoderConfig Parse(ReadOnlyMemory<byte> utf8Json, string file) =>
        ConfigFile.Parse(utf8Json, file, TextEncoderJson.Default.T5EncoderConfig).Check(file);

    internal Func<Tensor, Tensor> FindActivation() => Activation.Find(ActivationName)
        ?? throw new ArgumentException($"no activation is called {ActivationName}: use {Activation.Known}");

    private T5EncoderConfig Check(string file)
    {
        ConfigFile.RequirePositive(file, ("vocab_size", VocabSize), ("d_model", DModel), ("d_kv", DKv), ("d_ff", DFf),
            ("num_layers", NumLayers), ("num_heads", NumHeads), ("layer_norm_epsilon", LayerNormEpsilon));
        if (RelativeAttentionNumBuckets < 4 || RelativeAttentionNumBuckets % 4 != 0)
        {
            throw ConfigFile.Fault(file, "relative_attention_num_buckets",
                $"is {RelativeAttentionNumBuckets}; it must be a positive multiple of 4");
        }

        if (RelativeAttentionMaxDistance <= RelativeAttentionNumBuckets / 4)
        {
            throw ConfigFile.Fault(file, "relative_attention_max_distance",
                $"is {RelativeAttentionMaxDistance}; it must be more than a quarter of the {RelativeAttentionNumBuckets} buckets");
        }

        if (Activation.Find(ActivationName) is null)
        {
            throw ConfigFile.Fault(file, DenseActFn is null ? "feed_forward_proj" : "dense_act_fn",
                $"is {DenseActFn ?? FeedForwardProj}; known activations are {Activation.Known}");
        }

        return this;
    }
}
