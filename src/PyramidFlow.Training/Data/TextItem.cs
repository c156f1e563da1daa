using PyramidFlow.Models.Text;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Data;

/// <summary>Features of one caption.</summary>
/// <param name="Tokens">[length, width], float32.</param>
/// <param name="Length">Number of tokens.</param>
/// <param name="Pooled">[pooled], float32.</param>
public sealed record TextItem(float[] Tokens, int Length, float[] Pooled)
{
    /// <summary>Width of a token.</summary>
    public int Width => Tokens.Length / Length;

    /// <summary>Several as one batch, padded with zeros to the longest; float32 on the CPU, in the caller's scope.</summary>
    /// <exception cref="DataException">They are of different models.</exception>
    public static PromptFeatures Batch(IReadOnlyList<TextItem> items)
    {
        var (longest, width, pooled) = (items.Max(item => item.Length), items[0].Width, items[0].Pooled.Length);
        if (items.Any(item => item.Width != width || item.Pooled.Length != pooled))
            throw new DataException("the text features of a batch are of different models: run extract text again for all items");
        var tokens = new float[items.Count * longest * width];
        for (var i = 0; i < items.Count; i++)
            items[i].Tokens.CopyTo(tokens, i * longest * width);
        return new PromptFeatures(Tensor.From(tokens, items.Count, longest, width), [.. items.Select(item => item.Length)],
            Tensor.From<float>([.. items.SelectMany(item => item.Pooled)], items.Count, pooled), []);
    }
}
