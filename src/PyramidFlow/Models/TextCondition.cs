using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Output of the text encoders for a batch of prompts.</summary>
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

    /// <summary>Replaces chosen rows by the only row of another text, as training does to drop prompts.</summary>
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

/// <summary>Which text tokens of each row of a batch are words and which are padding.</summary>
public sealed class TextMask
{
    private readonly bool[][] words;

    /// <summary>Reads a mask [rows, length] of zeros and ones (any integer type or bool).</summary>
    public TextMask(Tensor mask)
    {
        using var scope = new TensorScope();
        var (rows, length) = (mask.Size(0), (int)mask.Size(1));
        var flat = mask.To(ElementType.Int64).ToArray<long>();
        words = [.. Enumerable.Range(0, (int)rows).Select(r => flat.AsSpan(r * length, length).ToArray().Select(w => w != 0).ToArray())];
    }

    private TextMask(bool[][] words) => this.words = words;

    /// <summary>Rows whose first tokens are words, as many as each length says.</summary>
    public static TextMask OfLengths(IReadOnlyList<int> lengths)
    {
        var longest = lengths.Max();
        return new([.. lengths.Select(length => Enumerable.Range(0, longest).Select(i => i < length).ToArray())]);
    }

    /// <summary>Rows of the batch.</summary>
    public int Rows => words.Length;

    /// <summary>Tokens up to the last word of the longest row; the rest can be cut off.</summary>
    public int Length => words.Max(row => Array.LastIndexOf(row, true) + 1);

    /// <summary>Whether padding remains inside <see cref="Length"/>.</summary>
    public bool HasPadding => words.Any(row => row.AsSpan(0, Length).Contains(false));

    /// <summary>
    /// How many words the rows begin with, where all other tokens are padding: row r has as many as entry r mod (number of
    /// entries) says. Null where a word follows padding.
    /// </summary>
    public IReadOnlyList<int>? Lengths()
    {
        var lengths = words.Select(row => row.TakeWhile(word => word).Count()).ToArray();
        if (words.Where((row, r) => row.Skip(lengths[r]).Contains(true)).Any())
            return null;
        var period = Enumerable.Range(1, Rows).First(p => Rows % p == 0 && lengths.Index().All(l => l.Item == lengths[l.Index % p]));
        return lengths[..period];
    }

    /// <summary>Rows r with r mod <paramref name="count"/> = <paramref name="stage"/>: those of one packed stage.</summary>
    public TextMask Stage(int stage, int count) => new([.. words.Where((_, r) => r % count == stage)]);

    /// <summary>Neighbouring rows.</summary>
    /// <param name="first">The first row.</param>
    /// <param name="count">Number of rows.</param>
    internal TextMask Narrow(int first, int count) => new(words[first..(first + count)]);

    /// <summary>Rows side by side <paramref name="times"/> times, the whole batch repeated.</summary>
    public TextMask Repeat(int times) => new([.. Enumerable.Repeat(words, times).SelectMany(w => w)]);

    /// <summary>Replaces chosen rows by the only row of another mask.</summary>
    /// <param name="chosen">For each row whether it is replaced.</param>
    /// <param name="other">A mask of one row.</param>
    public TextMask Replace(IReadOnlyList<bool> chosen, TextMask other)
    {
        var longest = Math.Max(words.Max(row => row.Length), other.words[0].Length);
        return new([.. words.Select((row, r) => Padded(chosen[r] ? other.words[0] : row))]);

        bool[] Padded(bool[] row) => [.. row, .. new bool[longest - row.Length]];
    }

    /// <summary>0 for words and -infinity for padding, [rows, 1, Length].</summary>
    public Tensor KeyBias()
    {
        var length = Length;
        return Tensor.From(words.SelectMany(row => row.Take(length)).Select(w => w ? 0f : float.NegativeInfinity).ToArray(), Rows, 1, length);
    }
}
