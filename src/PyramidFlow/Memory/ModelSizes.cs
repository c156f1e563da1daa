namespace PyramidFlow.Memory;

/// <summary>Weights of a checkpoint's models.</summary>
/// <param name="Text">The text encoders, T5 the last.</param>
/// <param name="Transformer">The transformer.</param>
/// <param name="Vae">The VAE.</param>
/// <param name="VaeDecoder">The part of it that decodes.</param>
internal sealed record ModelSizes(IReadOnlyList<WeightSizes> Text, WeightSizes Transformer, WeightSizes Vae, WeightSizes VaeDecoder)
{
    /// <summary>After a conversion to int8, which leaves CLIP and VAE as they are.</summary>
    internal ModelSizes AsInt8 => new([.. Text.SkipLast(1), Text[^1].AsInt8], Transformer.AsInt8, Vae, VaeDecoder);

    internal IEnumerable<WeightSizes> All => [.. Text, Transformer, Vae];
}
