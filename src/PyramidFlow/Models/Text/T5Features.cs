using PyramidFlow.Torch;

namespace PyramidFlow.Models.Text;

/// <summary>T5 without work on padding.</summary>
internal static class T5Features
{
    /// <summary>Encodes the first max(lengths) tokens; masks only where lengths differ.</summary>
    /// <param name="t5">The encoder.</param>
    /// <param name="ids">Int64 [b, n], padded after each row's length.</param>
    /// <param name="lengths">True lengths.</param>
    /// <returns>[b, max(lengths), d_model].</returns>
    internal static Tensor Encode(T5Encoder t5, Tensor ids, int[] lengths)
    {
        using var scope = new TensorScope();
        var longest = lengths.Max();
        Tensor? mask = null;
        if (lengths.Any(length => length < longest))
        {
            var open = new bool[lengths.Length * longest];
            for (var row = 0; row < lengths.Length; row++)
                open.AsSpan(row * longest, lengths[row]).Fill(true);
            mask = Tensor.From<bool>(open, lengths.Length, longest).To(ids.Device);
        }

        return scope.Keep(t5.Forward(ids.Narrow(1, 0, longest), mask));
    }

    /// <summary>Fails when a tokenizer gives ids that a model has no rows for.</summary>
    internal static void RequireRows(string model, long rows, int vocabulary)
    {
        if (vocabulary > rows)
        {
            throw new ArgumentException(FormattableString.Invariant(
                $"the tokenizer of {model} has {vocabulary} tokens, the model only {rows}: they are not from the same checkpoint"));
        }
    }
}
