using System.Text.Json.Serialization;
using PyramidFlow.Torch;

namespace PyramidFlow.Models.Text;

/// <summary>Multi-head attention of both text encoders.</summary>
internal static class TextAttention
{
    /// <summary>Largest negative float32: added to a score it leaves no weight, yet a row of nothing else stays finite.</summary>
    internal const double Masked = -float.MaxValue;

    /// <summary>softmax(q k^T + bias) v with the softmax in float32; the caller scales the queries.</summary>
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

/// <summary>Element-wise functions that text encoder configs name.</summary>
internal static class Activation
{
    /// <summary>The names understood.</summary>
    internal const string Known = "relu, silu, gelu, gelu_new, gelu_pytorch_tanh or quick_gelu";

    /// <summary>The function of that name, or null. <c>gelu_new</c> is the tanh form.</summary>
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
