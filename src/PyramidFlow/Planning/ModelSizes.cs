namespace PyramidFlow.Planning;

/// <summary>Weights of a checkpoint's models.</summary>
/// <param name="Text">The text encoders, T5 the last.</param>
/// <param name="Transformer">The transformer.</param>
/// <param name="Vae">The VAE.</param>
internal sealed record ModelSizes(IReadOnlyList<WeightSizes> Text, WeightSizes Transformer, WeightSizes Vae)
{
    internal IEnumerable<WeightSizes> All => [.. Text, Transformer, Vae];
}
