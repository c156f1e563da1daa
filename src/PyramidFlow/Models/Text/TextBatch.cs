using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;

namespace PyramidFlow.Models.Text;

/// <summary>Prompts as one tensor of ids, as short as their longest.</summary>
internal sealed class TextBatch
{
    private TextBatch(Tensor ids, int[] lengths, List<string> warnings)
    {
        Ids = ids;
        Lengths = lengths;
        Warnings = warnings;
    }

    /// <summary>Int64 [b, n].</summary>
    internal Tensor Ids { get; }

    internal int[] Lengths { get; }

    internal List<string> Warnings { get; }

    /// <summary>Tokenises.</summary>
    /// <param name="prompts">The texts.</param>
    /// <param name="encode">The tokenizer, without padding.</param>
    /// <param name="pad">Id that fills the shorter rows.</param>
    /// <param name="reader">Who reads the ids, for the warning that a prompt was cut.</param>
    internal static TextBatch Of(IReadOnlyList<string> prompts, Func<string, Tokenized> encode, int pad, string reader)
    {
        if (prompts.Count == 0)
            throw new ArgumentException("there is no prompt to encode: give at least one", nameof(prompts));
        var rows = prompts.Select(encode).ToArray();
        var longest = rows.Max(row => row.Length);
        var ids = new long[rows.Length * longest];
        Array.Fill(ids, pad);
        var warnings = new List<string>();
        for (var i = 0; i < rows.Length; i++)
        {
            rows[i].Ids.AsSpan(0, rows[i].Length).CopyTo(ids.AsSpan(i * longest));
            if (rows[i].Truncated)
            {
                warnings.Add(FormattableString.Invariant(
                    $"the prompt \"{Beginning(prompts[i])}\" has {rows[i].FullLength} tokens and {reader} reads only the first {rows[i].Length}: shorten it, or put what matters first"));
            }
        }

        return new TextBatch(Tensor.From<long>(ids, rows.Length, longest), [.. rows.Select(row => row.Length)], warnings);
    }

    private static string Beginning(string prompt)
    {
        const int shown = 40;
        if (prompt.Length <= shown)
            return prompt;
        var end = char.IsHighSurrogate(prompt[shown - 1]) ? shown - 1 : shown;
        return prompt[..end] + "...";
    }
}
