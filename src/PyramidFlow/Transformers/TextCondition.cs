using PyramidFlow.Torch;

namespace PyramidFlow.Transformers;

/// <summary>What the text encoders give for a batch of prompts.</summary>
public sealed class TextCondition
{
    /// <summary>Joins the parts.</summary>
    /// <param name="tokens">Text tokens, [rows, length, joint].</param>
    /// <param name="mask">1 for words and 0 for padding, [rows, length].</param>
    /// <param name="pooled">Pooled text, [rows, pooled].</param>
    public TextCondition(Tensor tokens, Tensor mask, Tensor pooled)
        : this(tokens, new TextMask(mask), pooled)
    {
    }

    /// <summary>Joins the parts.</summary>
    public TextCondition(Tensor tokens, TextMask mask, Tensor pooled)
    {
        if (tokens.Size(0) != mask.Rows || pooled.Size(0) != mask.Rows)
            throw new ArgumentException($"text has {tokens.Size(0)} rows, its mask {mask.Rows} and its pooled vectors {pooled.Size(0)}");
        (Tokens, Mask, Pooled) = (tokens, mask, pooled);
    }

    /// <summary>Text tokens, [rows, length, joint].</summary>
    public Tensor Tokens { get; }

    /// <summary>Which of them are words.</summary>
    public TextMask Mask { get; }

    /// <summary>Pooled text, [rows, pooled].</summary>
    public Tensor Pooled { get; }
}
