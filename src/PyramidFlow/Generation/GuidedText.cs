using PyramidFlow.Models.Text;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Generation;

/// <summary>Text of a clip, with and without guidance.</summary>
/// <param name="Prompt">The prompts, b rows.</param>
/// <param name="Guided">What guidance steers away from, then the prompts, 2b rows; null when no unit is guided.</param>
public sealed record GuidedText(TextCondition Prompt, TextCondition? Guided)
{
    /// <summary>Joins encoded prompts.</summary>
    /// <param name="prompt">The prompts, b rows.</param>
    /// <param name="negative">What to steer away from, b rows; null when no unit is guided.</param>
    public static GuidedText Of(PromptFeatures prompt, PromptFeatures? negative)
    {
        var words = new TextCondition(prompt.Tokens, TextMask.OfLengths(prompt.Lengths), prompt.Pooled);
        if (negative is null)
            return new GuidedText(words, null);
        var longest = Math.Max(prompt.Tokens.Size(1), negative.Tokens.Size(1));
        return new GuidedText(words, new TextCondition(
            Tensor.Cat([Padded(negative.Tokens), Padded(prompt.Tokens)], 0),
            TextMask.OfLengths([.. negative.Lengths, .. prompt.Lengths]),
            Tensor.Cat([negative.Pooled, prompt.Pooled], 0)));

        Tensor Padded(Tensor tokens) => tokens.Pad([0, 0, 0, longest - tokens.Size(1)]);             // [b, longest, d]
    }
}
