using PyramidFlow.Torch;

namespace PyramidFlow.Models.Text;

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
