using PyramidFlow.Torch;

namespace PyramidFlow.TextEncoders;

/// <summary>Turns prompts into features; owns its text encoders.</summary>
public abstract class PromptEncoder : IDisposable
{
    /// <summary>T5 tokens the released models were trained with; what is longer is cut.</summary>
    public const int MaxTokens = 128;

    /// <summary>Width of a token's feature.</summary>
    public abstract long TokenWidth { get; }

    /// <summary>Width of the pooled feature.</summary>
    public abstract long PooledWidth { get; }

    /// <summary>The text encoders, to move or to train.</summary>
    public abstract IReadOnlyList<Module> Models { get; }

    /// <summary>
    /// Features of prompts, one row each. The tensors belong to the caller's scope; inside <see cref="NoGrad"/> nothing is
    /// recorded for backward.
    /// </summary>
    /// <param name="prompts">At least one; the empty text stands for "no prompt".</param>
    public abstract PromptFeatures Encode(IReadOnlyList<string> prompts);

    /// <summary>Frees the text encoders.</summary>
    public void Dispose()
    {
        foreach (var model in Models)
            model.Dispose();
        GC.SuppressFinalize(this);
    }
}
