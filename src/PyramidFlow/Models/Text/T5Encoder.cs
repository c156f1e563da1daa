using PyramidFlow.Torch;

namespace PyramidFlow.Models.Text;

/// <summary>
/// The encoder half of T5 v1.1 (Raffel et al. 2020; Shazeer 2020 for the gated feed-forward part): pre-norm blocks without
/// biases, attention without 1/sqrt(d), one table of relative position biases in the first block that all blocks share.
/// Dropout is not applied.
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

    /// <summary>What it was built from.</summary>
    public T5EncoderConfig Config { get; }

    /// <summary>Where the weights are, and where ids have to be.</summary>
    public Device Device => shared.Weight.Device;

    /// <summary>Features of each token.</summary>
    /// <param name="ids">Token ids, int64 [b, n].</param>
    /// <param name="mask">Non-zero for tokens to attend to, [b, n]; null attends to all.</param>
    /// <returns>[b, n, d_model], of the weights' element type; masked positions hold numbers of no meaning.</returns>
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
