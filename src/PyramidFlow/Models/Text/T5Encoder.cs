using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>A T5 encoder's <c>config.json</c>.</summary>
/// <param name="VocabSize">Number of token embeddings; ids are 0 to <paramref name="VocabSize"/> - 1.</param>
/// <param name="DModel">Width of the residual stream and of the output (4096 in the XXL model).</param>
/// <param name="DKv">Width of one attention head.</param>
/// <param name="DFf">Hidden width of the feed-forward network.</param>
/// <param name="NumLayers">Number of blocks.</param>
/// <param name="NumHeads">Attention heads; heads * <paramref name="DKv"/> need not equal <paramref name="DModel"/>.</param>
/// <param name="RelativeAttentionNumBuckets">Number of relative position buckets, half of them for each direction.</param>
/// <param name="RelativeAttentionMaxDistance">Distance from which all positions fall into the last bucket.</param>
/// <param name="LayerNormEpsilon">Epsilon of the norms.</param>
/// <param name="FeedForwardProj">Feed-forward network: the name of an activation, or <c>gated-</c> and a name. <c>gated-gelu</c> means
/// the tanh approximation.</param>
/// <param name="DenseActFn">Activation; overrides the one in <paramref name="FeedForwardProj"/>.</param>
/// <param name="IsGatedAct">Whether the feed-forward network is gated; overrides
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
    /// <summary>Keys of the file that the encoder does not use.</summary>
    [JsonExtensionData]
    [JsonInclude]
    public Dictionary<string, JsonElement>? Others { get; internal set; }

    /// <summary>Whether the feed-forward network is gated, that is, multiplies two projections.</summary>
    [JsonIgnore]
    public bool Gated => IsGatedAct ?? FeedForwardProj?.StartsWith("gated-", StringComparison.Ordinal) ?? false;

    /// <summary>Name of the effective activation; relu if the file names none, as in T5 v1.0.</summary>
    [JsonIgnore]
    public string ActivationName => DenseActFn
        ?? (FeedForwardProj == "gated-gelu" ? "gelu_new" : FeedForwardProj?.Split('-')[^1]) ?? "relu";

    /// <summary>Reads and checks a <c>config.json</c>.</summary>
    /// <exception cref="CheckpointException">A key is missing or its value impossible; the message names file and key.</exception>
    public static T5EncoderConfig Read(string path) => ConfigFile.Read(path, TextEncoderJson.Default.T5EncoderConfig).Check(path);

    /// <summary>Reads and checks a config in memory.</summary>
    /// <param name="utf8Json">The JSON object.</param>
    /// <param name="file">Name of the file in error messages.</param>
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

/// <summary>
/// The encoder of T5 v1.1 (Raffel et al. 2020; Shazeer 2020 for the gated feed-forward network): pre-norm blocks without biases,
/// attention without 1/sqrt(d), and one table of relative position biases, stored in the first block and used by all. Dropout is
/// not applied.
/// </summary>
public sealed class T5Encoder : Module
{
    private readonly Embedding shared;

    [Key("encoder.block")]
    private readonly T5Block[] blocks;

    [Key("encoder.final_layer_norm")]
    private readonly RmsNorm finalNorm;

    private WeightStream? stream;

    /// <summary>Declares the model.</summary>
    public T5Encoder(T5EncoderConfig config)
    {
        Config = config;
        shared = new Embedding(config.VocabSize, config.DModel);
        blocks = [.. Enumerable.Range(0, config.NumLayers).Select(i => new T5Block(config, holdsPositions: i == 0))];
        finalNorm = new RmsNorm(config.DModel, config.LayerNormEpsilon);
    }

    /// <summary>Config of the model.</summary>
    public T5EncoderConfig Config { get; }

    /// <summary>Device of the weights; ids must be on it.</summary>
    public Device Device => shared.Weight.Device;

    /// <summary>Features of each token.</summary>
    /// <param name="ids">Token ids, int64 [b, n].</param>
    /// <param name="mask">[b, n]; non-zero for tokens that are attended to; null attends to all.</param>
    /// <returns>[b, n, d_model], in the weights' element type; values at masked positions are undefined.</returns>
    public Tensor Forward(Tensor ids, Tensor? mask = null)
    {
        using var scope = new TensorScope();
        var x = shared.Forward(ids);                                          // [b, n, d]
        var bias = blocks[0].PositionBias(ids.Shape[1], ids.Device);          // [1, h, n, n]
        if (mask is not null)
        {
            var closed = 1.0 - mask.Unsqueeze(1).Unsqueeze(1).To(ElementType.Float32);
            bias = bias + closed * TextAttention.Masked;                      // [b, h, n, n]
        }

        foreach (var (i, block) in blocks.Index())
        {
            using var turn = stream?.Enter(i);
            x = block.Forward(x, bias);                                       // [b, n, d]
        }

        return scope.Keep(finalNorm.Forward(x));                              // [b, n, d]
    }

    /// <summary>Features of padded rows: computes no position after the longest row, and masks only if lengths differ.</summary>
    /// <param name="ids">Token ids, int64 [b, n], padded after each row's length.</param>
    /// <param name="lengths">Number of tokens of each row.</param>
    /// <returns>[b, max(lengths), d_model].</returns>
    internal Tensor Forward(Tensor ids, int[] lengths)
    {
        using var scope = new TensorScope();
        var longest = lengths.Max();
        Tensor? mask = null;
        if (lengths.Any(length => length < longest))
        {
            var open = new bool[lengths.Length * longest];
            for (var row = 0; row < lengths.Length; row++)
                open.AsSpan(row * longest, lengths[row]).Fill(true);
            mask = Tensor.From<bool>(open, lengths.Length, longest).To(ids.Device);
        }

        return scope.Keep(Forward(ids.Narrow(1, 0, longest), mask));
    }

    /// <inheritdoc/>
    public override void StreamWeights(bool on = true)
    {
        stream?.Settle();
        stream = on ? new WeightStream([.. blocks.Select(block => block.NamedParameters().Select(named => named.Parameter).ToList())]) : null;
    }

    /// <inheritdoc/>
    private protected override IEnumerable<WeightStream> Streams => stream is null ? [] : [stream];

    /// <inheritdoc/>
    protected override bool Ignores(string key) => key == "encoder.embed_tokens.weight";

    private sealed class T5Block : Module
    {
        [Key("layer.0.SelfAttention")]
        private readonly T5Attention attention;

        [Key("layer.0.layer_norm")]
        private readonly RmsNorm attentionNorm;

        [Key("layer.1.DenseReluDense")]
        private readonly T5FeedForward feedForward;

        [Key("layer.1.layer_norm")]
        private readonly RmsNorm feedForwardNorm;

        internal T5Block(T5EncoderConfig config, bool holdsPositions)
        {
            attention = new T5Attention(config, holdsPositions);
            attentionNorm = new RmsNorm(config.DModel, config.LayerNormEpsilon);
            feedForward = new T5FeedForward(config);
            feedForwardNorm = new RmsNorm(config.DModel, config.LayerNormEpsilon);
        }

        internal Tensor PositionBias(long n, Device device) => attention.PositionBias(n, device);

        internal Tensor Forward(Tensor x, Tensor bias)
        {
            using var scope = new TensorScope();
            x = x + attention.Forward(attentionNorm.Forward(x), bias);        // [b, n, d]
            return scope.Keep(x + feedForward.Forward(feedForwardNorm.Forward(x))); // [b, n, d]
        }
    }

    private sealed class T5Attention : Module
    {
        private readonly Linear q;
        private readonly Linear k;
        private readonly Linear v;
        private readonly Linear o;
        private readonly Embedding? relativeAttentionBias;
        private readonly T5EncoderConfig config;

        internal T5Attention(T5EncoderConfig config, bool holdsPositions)
        {
            this.config = config;
            var inner = config.NumHeads * config.DKv;
            var std = 1 / Math.Sqrt(config.DModel);
            q = new Linear(config.DModel, inner, Initializers.Normal(std / Math.Sqrt(config.DKv)), bias: false);
            k = new Linear(config.DModel, inner, Initializers.Normal(std), bias: false);
            v = new Linear(config.DModel, inner, Initializers.Normal(std), bias: false);
            o = new Linear(inner, config.DModel, Initializers.Normal(1 / Math.Sqrt(inner)), bias: false);
            relativeAttentionBias = holdsPositions
                ? new Embedding(config.RelativeAttentionNumBuckets, config.NumHeads, std)
                : null;
        }

        internal Tensor PositionBias(long n, Device device)
        {
            var buckets = RelativePositions.Square(n, config.RelativeAttentionNumBuckets, config.RelativeAttentionMaxDistance);
            var bias = relativeAttentionBias!.Forward(buckets.To(device));    // [n, n, h]
            return bias.Permute(2, 0, 1).Unsqueeze(0).To(ElementType.Float32); // [1, h, n, n]
        }

        internal Tensor Forward(Tensor x, Tensor bias) =>
            o.Forward(TextAttention.Attend(q.Forward(x), k.Forward(x), v.Forward(x), config.NumHeads, bias)); // [b, n, d]
    }

    private sealed class T5FeedForward : Module
    {
        [Key("wi")]
        private readonly Linear? plain;

        [Key("wi_0")]
        private readonly Linear? gate;

        [Key("wi_1")]
        private readonly Linear? value;

        private readonly Linear wo;
        private readonly Func<Tensor, Tensor> activation;

        internal T5FeedForward(T5EncoderConfig config)
        {
            activation = config.FindActivation();
            var initializer = Initializers.Normal(1 / Math.Sqrt(config.DModel));
            Linear Inward() => new(config.DModel, config.DFf, initializer, bias: false);
            if (config.Gated)
                (gate, value) = (Inward(), Inward());
            else
                plain = Inward();
            wo = new Linear(config.DFf, config.DModel, Initializers.Normal(1 / Math.Sqrt(config.DFf)), bias: false);
        }

        internal Tensor Forward(Tensor x)
        {
            var h = plain is not null
                ? activation(plain.Forward(x))
                : activation(gate!.Forward(x)) * value!.Forward(x);           // [b, n, d_ff]
            return wo.Forward(h);                                             // [b, n, d]
        }
    }
}

/// <summary>
/// T5's relative position buckets (Raffel et al. 2020, section 2.1): half of them are for keys after the query. In each half, the
/// first buckets hold exact distances and the others grow logarithmically up to a largest distance.
/// </summary>
internal static class RelativePositions
{
    /// <summary>Bucket of each relative position.</summary>
    /// <param name="relative">Key position minus query position, int64, any shape.</param>
    /// <param name="buckets">Number of buckets of both directions together.</param>
    /// <param name="maxDistance">Distance from which all positions fall into the last bucket.</param>
    /// <returns>Int64 bucket numbers of the same shape.</returns>
    public static Tensor Bucket(Tensor relative, long buckets, long maxDistance)
    {
        using var scope = new TensorScope();
        var half = buckets / 2;
        var exact = half / 2;
        var offset = relative.Gt(0).To(ElementType.Float32) * half;
        var distance = relative.To(ElementType.Float32).Abs();
        // Keep float32 and this order of operations: the rounding of the quotient decides at the edges of buckets.
        var far = (((distance / exact).Log() / Math.Log((double)maxDistance / exact)) * (half - exact)).Clamp(0, half).Floor() + exact;
        var bucket = Tensor.Where(distance.Gt(exact - 1), far.Clamp(0, half - 1), distance);
        return scope.Keep((bucket + offset).To(ElementType.Int64));
    }

    /// <summary>Buckets for a sequence: [query, key], int64 [n, n].</summary>
    internal static Tensor Square(long n, long buckets, long maxDistance)
    {
        using var scope = new TensorScope();
        var position = Tensor.Arange(0, n, type: ElementType.Int64);
        return scope.Keep(Bucket(position.Unsqueeze(0) - position.Unsqueeze(1), buckets, maxDistance));
    }
}
