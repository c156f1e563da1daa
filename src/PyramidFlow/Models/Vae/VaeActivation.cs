using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Activations by the names of the released configs.</summary>
internal static class VaeActivation
{
    internal const string Known = "silu, swish, mish, gelu or relu";

    internal static Func<Tensor, Tensor> Get(string name) =>
        Find(name) ?? throw new ArgumentException($"no activation is called {name}: use {Known}", nameof(name));

    internal static Func<Tensor, Tensor>? Find(string name) => name switch
    {
        "silu" or "swish" => x => x.Silu(),
        "mish" => x => x.Mish(),
        "gelu" => x => x.Gelu(),
        "relu" => x => x.Relu(),
        _ => null,
    };
}
