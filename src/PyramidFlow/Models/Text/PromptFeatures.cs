using PyramidFlow.Torch;

namespace PyramidFlow.Models.Text;

/// <summary>What a diffusion transformer reads of some prompts.</summary>
/// <param name="Tokens">Feature of each token, [b, n, width]; n is the longest prompt's length, not the limit. Positions at
/// or past a prompt's length hold numbers of no meaning.</param>
/// <param name="Lengths">True number of tokens of each prompt, 1 to n.</param>
/// <param name="Pooled">One feature for each prompt, [b, pooled].</param>
/// <param name="Warnings">Sentences for the user, such as that a prompt was cut; empty when all is well.</param>
public sealed record PromptFeatures(Tensor Tokens, int[] Lengths, Tensor Pooled, IReadOnlyList<string> Warnings)
{
    /// <summary>Whether no number is infinite or none, but for those of no meaning; waits for the device.</summary>
    public bool AreFinite()
    {
        using var scope = new TensorScope();
        return Pooled.AllFinite() && (Tokens.AllFinite() || Lengths.Index().All(row => Tokens.Narrow(0, row.Index, 1).Narrow(1, 0, row.Item).AllFinite()));
    }

    /// <summary>Hands the tensors to the scope outside <paramref name="scope"/>.</summary>
    /// <returns>This.</returns>
    public PromptFeatures KeepFrom(TensorScope scope)
    {
        scope.Keep(Tokens);
        scope.Keep(Pooled);
        return this;
    }
}
