using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>A CLIP text encoder's <c>config.json</c>.</summary>
/// <param name="VocabSize">Number of token embeddings; ids are 0 to <paramref name="VocabSize"/> - 1.</param>
/// <param name="HiddenSize">Width of the residual stream and of the pooled output (768 in CLIP-L, 1280 in CLIP-G).</param>
/// <param name="IntermediateSize">Hidden width of the feed-forward network.</param>
/// <param name="NumHiddenLayers">Number of blocks.</param>
/// <param name="NumAttentionHeads">Attention heads; a divisor of <paramref name="HiddenSize"/>.</param>
/// <param name="MaxPositionEmbeddings">Maximum number of tokens, including start and end (77).</param>
/// <param name="EosTokenId">Id of the end token. Old configs say 2 by mistake; 2 means "the largest id of the row".</param>
/// <param name="HiddenAct">Activation of the feed-forward network.</param>
/// <param name="LayerNormEps">Epsilon of the norms.</param>
/// <param name="ProjectionDim">Width of the projected pooled output; required by the model with projection only.</param>
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
    /// <summary>Keys of the file that the encoder does not use.</summary>
    [JsonExtensionData]
    [JsonInclude]
    public Dictionary<string, JsonElement>? Others { get; internal set; }

    /// <summary>Reads and checks a <c>config.json</c>.</summary>
    /// <exception cref="CheckpointException">A key is missing or its value impossible; the message names file and key.</exception>
    public static ClipTextConfig Read(string path) => ConfigFile.Read(path, TextEncoderJson.Default.ClipTextConfig).Check(path);

    /// <summary>Reads and checks a config in memory.</summary>
    /// <param name="utf8Json">The JSON object.</param>
    /// <param name="file">Name of the file in error messages.</param>
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

/// <summary>CLIP text encoder; its pooled output is the feature of the end token.</summary>
internal sealed class ClipTextModel : Module
{
    private readonly ClipTextTransformer textModel;

    /// <summary>Declares the model.</summary>
    public ClipTextModel(ClipTextConfig config)
    {
        Config = config;
        textModel = new ClipTextTransformer(config);
    }

    /// <summary>Config of the model.</summary>
    public ClipTextConfig Config { get; }

    /// <summary>Device of the weights; ids must be on it.</summary>
    public Device Device => textModel.Device;

    /// <summary>Features of token ids.</summary>
    /// <param name="ids">Int64 [b, n], n at most <see cref="ClipTextConfig.MaxPositionEmbeddings"/>.</param>
    public ClipTextOutput Forward(Tensor ids) => textModel.Forward(ids);

    /// <inheritdoc/>
    protected override bool Ignores(string key) => key == "text_model.embeddings.position_ids";
}

/// <summary>CLIP text encoder; its pooled output is projected into the space shared with images.</summary>
internal sealed class ClipTextModelWithProjection : Module
{
    private readonly ClipTextTransformer textModel;
    private readonly Linear textProjection;

    /// <summary>Declares the model.</summary>
    /// <exception cref="CheckpointException">The config has no <c>projection_dim</c>.</exception>
    public ClipTextModelWithProjection(ClipTextConfig config)
    {
        Config = config;
        textModel = new ClipTextTransformer(config);
        var width = config.ProjectionDim
            ?? throw CheckpointFault.ConfigLacks("the config.json of a CLIP model with projection", ["projection_dim"]);
        textProjection = new Linear(config.HiddenSize, width, Initializers.Normal(1 / Math.Sqrt(config.HiddenSize)), bias: false);
    }

    /// <summary>Config of the model.</summary>
    public ClipTextConfig Config { get; }

    /// <summary>Device of the weights; ids must be on it.</summary>
    public Device Device => textModel.Device;

    /// <summary>Features of token ids; the pooled output is projected, [b, projection].</summary>
    /// <param name="ids">Int64 [b, n], n at most <see cref="ClipTextConfig.MaxPositionEmbeddings"/>.</param>
    public ClipTextOutput Forward(Tensor ids)
    {
        using var scope = new TensorScope();
        var (hidden, pooled) = textModel.Forward(ids);
        return new ClipTextOutput(scope.Keep(hidden), scope.Keep(textProjection.Forward(pooled)));
    }

    /// <inheritdoc/>
    protected override bool Ignores(string key) => key == "text_model.embeddings.position_ids";
}

/// <summary>Output of a CLIP text encoder.</summary>
/// <param name="LastHidden">Features of each token after the final norm, [b, n, hidden].</param>
/// <param name="Pooled">Feature of the end token, [b, hidden], or its projection, [b, projection].</param>
internal readonly record struct ClipTextOutput(Tensor LastHidden, Tensor Pooled);

/// <summary>
/// The text transformer of CLIP (Radford et al. 2021, section 2.4): pre-norm blocks with causal attention and learned positions.
/// It needs no padding mask, because causal attention keeps tokens after the end token out of the pooled feature.
/// </summary>
internal sealed class ClipTextTransformer : Module
{
    [Key("embeddings.token_embedding")]
    private readonly Embedding tokens;

    [Key("embeddings.position_embedding")]
    private readonly Embedding positions;

    [Key("encoder.layers")]
    private readonly ClipBlock[] layers;

    private readonly LayerNorm finalLayerNorm;
    private readonly ClipTextConfig config;

    internal ClipTextTransformer(ClipTextConfig config)
    {
        this.config = config;
        tokens = new Embedding(config.VocabSize, config.HiddenSize, 0.02);
        positions = new Embedding(config.MaxPositionEmbeddings, config.HiddenSize, 0.02);
        layers = [.. Enumerable.Range(0, config.NumHiddenLayers).Select(_ => new ClipBlock(config))];
        finalLayerNorm = new LayerNorm(config.HiddenSize, eps: config.LayerNormEps);
    }

    internal Device Device => tokens.Weight.Device;

    internal ClipTextOutput Forward(Tensor ids)
    {
        var n = ids.Shape[1];
        if (n > config.MaxPositionEmbeddings)
            throw new ArgumentException($"{n} tokens are too many for this CLIP model: it takes {config.MaxPositionEmbeddings}", nameof(ids));
        using var scope = new TensorScope();
        var x = tokens.Forward(ids) + positions.Weight.Value.Narrow(0, 0, n); // [b, n, d]
        var open = Tensor.Ones([n, n], device: ids.Device).Tril();
        var bias = (1.0 - open) * TextAttention.Masked;                       // [n, n]
        foreach (var layer in layers)
            x = layer.Forward(x, bias);                                       // [b, n, d]
        x = finalLayerNorm.Forward(x);                                        // [b, n, d]
        var ends = Tensor.From(EndPositions(ids)).To(ids.Device);             // [b], into b * n
        return new ClipTextOutput(scope.Keep(x), scope.Keep(x.Flatten(0, 1).IndexSelect(0, ends)));
    }

    private long[] EndPositions(Tensor ids)
    {
        var n = (int)ids.Shape[1];
        var values = ids.ToArray<long>();
        var ends = new long[ids.Shape[0]];
        for (var row = 0; row < ends.Length; row++)
        {
            ReadOnlySpan<long> tokensOfRow = values.AsSpan(row * n, n);
            // Configs with end token 2 are older than the vocabulary, whose end token is its largest id.
            var end = config.EosTokenId == 2 ? Largest(tokensOfRow) : config.EosTokenId;
            ends[row] = (row * n) + Math.Max(0, tokensOfRow.IndexOf(end));
        }

        return ends;
    }

    private static long Largest(ReadOnlySpan<long> values)
    {
        var largest = long.MinValue;
        foreach (var value in values)
            largest = Math.Max(largest, value);
        return largest;
    }

    private sealed class ClipBlock : Module
    {
        private readonly ClipAttention selfAttn;

        [Key("layer_norm1")]
        private readonly LayerNorm attentionNorm;

        private readonly ClipMlp mlp;

        [Key("layer_norm2")]
        private readonly LayerNorm mlpNorm;

        internal ClipBlock(ClipTextConfig config)
        {
            selfAttn = new ClipAttention(config);
            attentionNorm = new LayerNorm(config.HiddenSize, eps: config.LayerNormEps);
            mlp = new ClipMlp(config);
            mlpNorm = new LayerNorm(config.HiddenSize, eps: config.LayerNormEps);
        }

        internal Tensor Forward(Tensor x, Tensor bias)
        {
            x = x + selfAttn.Forward(attentionNorm.Forward(x), bias);         // [b, n, d]
            return x + mlp.Forward(mlpNorm.Forward(x));                       // [b, n, d]
        }
    }

    private sealed class ClipAttention : Module
    {
        private readonly Linear kProj;
        private readonly Linear vProj;
        private readonly Linear qProj;
        private readonly Linear outProj;
        private readonly long heads;
        private readonly double scale;

        internal ClipAttention(ClipTextConfig config)
        {
            var d = config.HiddenSize;
            var inward = Initializers.Normal(1 / Math.Sqrt(2.0 * d * config.NumHiddenLayers));
            kProj = new Linear(d, d, inward);
            vProj = new Linear(d, d, inward);
            qProj = new Linear(d, d, inward);
            outProj = new Linear(d, d, Initializers.Normal(1 / Math.Sqrt(d)));
            heads = config.NumAttentionHeads;
            scale = 1 / Math.Sqrt(d / heads);
        }

        internal Tensor Forward(Tensor x, Tensor bias) => outProj.Forward(TextAttention.Attend(
            qProj.Forward(x) * scale, kProj.Forward(x), vProj.Forward(x), heads, bias)); // [b, n, d]
    }

    private sealed class ClipMlp : Module
    {
        private readonly Linear fc1;
        private readonly Linear fc2;
        private readonly Func<Tensor, Tensor> activation;

        internal ClipMlp(ClipTextConfig config)
        {
            var d = config.HiddenSize;
            fc1 = new Linear(d, config.IntermediateSize, Initializers.Normal(1 / Math.Sqrt(2.0 * d)));
            fc2 = new Linear(config.IntermediateSize, d, Initializers.Normal(1 / Math.Sqrt(2.0 * d * config.NumHiddenLayers)));
            activation = config.FindActivation();
        }

        internal Tensor Forward(Tensor x) => fc2.Forward(activation(fc1.Forward(x))); // [b, n, d]
    }
}
