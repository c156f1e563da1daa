namespace PyramidFlow.Models.Text;

/// <summary>
/// Floating point operations of the text encoders: 2 for each multiply-add of a matrix product, nothing else (no token tables, norms,
/// activations, softmax, nor the projection of CLIP's pooled feature, one product of one token). Attention counts the pairs of query
/// and key that see each other.
/// </summary>
public static class TextFlops
{
    /// <summary>A <see cref="T5Encoder"/>.</summary>
    /// <param name="config">Sizes of the model.</param>
    /// <param name="rows">Texts.</param>
    /// <param name="tokens">Tokens of each.</param>
    public static long T5(T5EncoderConfig config, long rows, long tokens)
    {
        var inner = config.NumHeads * config.DKv;
        var linear = (4 * config.DModel * inner) + ((config.Gated ? 3 : 2) * config.DModel * config.DFf);
        return 2 * rows * config.NumLayers * ((tokens * linear) + (2 * tokens * tokens * inner));
    }

    /// <summary>The text transformer of a CLIP, in which a token sees itself and those before it.</summary>
    /// <inheritdoc cref="T5"/>
    public static long Clip(ClipTextConfig config, long rows, long tokens)
    {
        var linear = (4 * config.HiddenSize * config.HiddenSize) + (2 * config.HiddenSize * config.IntermediateSize);
        var pairs = tokens * (tokens + 1) / 2;
        return 2 * rows * config.NumHiddenLayers * ((tokens * linear) + (2 * pairs * config.HiddenSize));
    }
}
