using PyramidFlow.Torch;

namespace PyramidFlow.Models;

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

    /// <summary>The same rows, but those that are chosen are the only row of another text: how training drops prompts.</summary>
    /// <param name="chosen">For each row whether it is replaced.</param>
    /// <param name="other">Text of one row and the same widths, on the same device.</param>
    public TextCondition Replace(IReadOnlyList<bool> chosen, TextCondition other)
    {
        if (chosen.Count != Mask.Rows || other.Mask.Rows != 1)
            throw new ArgumentException($"{Mask.Rows} rows of text cannot be replaced by {chosen.Count} choices and {other.Mask.Rows} rows: give a choice for each row, and one row");
        using var scope = new TensorScope();
        var length = Math.Max(Tokens.Size(1), other.Tokens.Size(1));
        var where = Tensor.From(chosen.ToArray()).To(Tokens.Device).Unsqueeze(1);                    // [rows, 1]
        var tokens = Tensor.Where(where.Unsqueeze(2), Padded(other.Tokens.To(Tokens.Type)), Padded(Tokens));
        var pooled = Tensor.Where(where, other.Pooled.To(Pooled.Type), Pooled);                     // [rows, pooled]
        return new TextCondition(scope.Keep(tokens), Mask.Replace(chosen, other.Mask), scope.Keep(pooled));

        Tensor Padded(Tensor t) => t.Size(1) == length ? t : t.Pad([0, 0, 0, length - t.Size(1)]);
    }
}
