using System.Text.Json.Serialization;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Multi-head attention of the text encoders.</summary>
internal static class TextAttention
{
    /// <summary>Most negative float32. Added to a score it gives a weight of 0, and rows in which all scores are masked stay finite.</summary>
    internal const double Masked = -float.MaxValue;

    /// <summary>Computes softmax(q k^T + bias) v with the softmax in float32. The caller scales the queries.</summary>
    /// <param name="q">Queries, [b, n, heads * d].</param>
    /// <param name="k">Keys, [b, n, heads * d].</param>
    /// <param name="v">Values, [b, n, heads * d].</param>
    /// <param name="heads">Number of heads.</param>
    /// <param name="bias">Added to the scores, float32, broadcast to [b, heads, n, n].</param>
    /// <returns>[b, n, heads * d].</returns>
    internal static Tensor Attend(Tensor q, Tensor k, Tensor v, long heads, Tensor bias)
    {
        var scores = Split(q, heads).Matmul(Split(k, heads).Transpose(-1, -2));       // [b, h, n, n]
        var weights = (scores.To(ElementType.Float32) + bias).Softmax(-1).To(v.Type); // [b, h, n, n]
        return weights.Matmul(Split(v, heads)).Transpose(1, 2).Flatten(2);            // [b, n, h * d]
    }

    private static Tensor Split(Tensor x, long heads) => x.Unflatten(-1, heads, -1).Transpose(1, 2); // [b, h, n, d]
}

/// <summary>Activations by their names in text encoder configs.</summary>
internal static class Activation
{
    /// <summary>Known names, for error messages.</summary>
    internal const string Known = "relu, silu, gelu, gelu_new, gelu_pytorch_tanh or quick_gelu";

    /// <summary>The activation of a name, or null. <c>gelu_new</c> is the tanh approximation.</summary>
    internal static Func<Tensor, Tensor>? Find(string name) => name switch
    {
        "relu" => x => x.Relu(),
        "silu" or "swish" => x => x.Silu(),
        "gelu" => x => x.Gelu(),
        "gelu_new" or "gelu_pytorch_tanh" => x => x.Gelu(approximate: true),
        "quick_gelu" => x => x * (x * 1.702).Sigmoid(),
        _ => null,
    };
}

/// <summary>Source-generated reading of the text encoders' configs.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(T5EncoderConfig))]
[JsonSerializable(typeof(ClipTextConfig))]
[JsonSerializable(typeof(string[]))]
internal sealed partial class TextEncoderJson : JsonSerializerContext;

/// <summary>
/// Floating point operations of the text encoders: 2 per multiply-add of a matrix product. Embeddings, norms, activations, softmax and
/// the projection of CLIP's pooled feature are not counted. Attention counts the pairs of query and key that are not masked.
/// </summary>
internal static class TextFlops
{
    /// <summary>Cost of a <see cref="T5Encoder"/>.</summary>
    /// <param name="config">Sizes of the model.</param>
    /// <param name="rows">Number of texts.</param>
    /// <param name="tokens">Tokens of each text.</param>
    public static long T5(T5EncoderConfig config, long rows, long tokens)
    {
        var inner = config.NumHeads * config.DKv;
        var linear = (4 * config.DModel * inner) + ((config.Gated ? 3 : 2) * config.DModel * config.DFf);
        return 2 * rows * config.NumLayers * ((tokens * linear) + (2 * tokens * tokens * inner));
    }

    /// <summary>Cost of the text transformer of CLIP, in which a token attends to itself and the tokens before it.</summary>
    /// <inheritdoc cref="T5"/>
    public static long Clip(ClipTextConfig config, long rows, long tokens)
    {
        var linear = (4 * config.HiddenSize * config.HiddenSize) + (2 * config.HiddenSize * config.IntermediateSize);
        var pairs = tokens * (tokens + 1) / 2;
        return 2 * rows * config.NumHiddenLayers * ((tokens * linear) + (2 * pairs * config.HiddenSize));
    }
}
