using PyramidFlow.Torch;

namespace PyramidFlow.Models.Text;

/// <summary>What a CLIP text encoder gives.</summary>
/// <param name="LastHidden">Features of each token after the final norm, [b, n, hidden].</param>
/// <param name="Pooled">The feature at the end token, [b, hidden], or its projection, [b, projection].</param>
public readonly record struct ClipTextOutput(Tensor LastHidden, Tensor Pooled);

/// <summary>
/// The text transformer of CLIP (Radford et al. 2021, section 2.4): pre-norm blocks with causal attention over learned
/// positions. There is no padding mask: causality keeps what follows the end token out of the pooled feature.
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
            // Configs with end token 2 predate their own vocabulary, whose end token is the largest id.
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
