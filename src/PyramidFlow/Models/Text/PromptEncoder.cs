using PyramidFlow.Hub;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models.Text;

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

    /// <summary>Loads the tokenizers and text encoders of a checkpoint, of whichever family it is.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="type">Element type to hold the weights in; null keeps the checkpoint's, which then stay memory-mapped.</param>
    /// <param name="device">Where to hold them; null is the CPU.</param>
    /// <exception cref="CheckpointException">A folder or file is missing, damaged, or of another model.</exception>
    public static PromptEncoder Load(CheckpointFolder folder, ElementType? type = null, Device? device = null) => Load(folder, (model, component) =>
    {
        using var source = component.OpenWeights();
        model.Load(source, type, device);
    });

    /// <summary>As the public one, with weights from wherever the caller wants.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="fill">Gives each text encoder its weights, from its folder.</param>
    internal static PromptEncoder Load(CheckpointFolder folder, Action<Module, ComponentFolder> fill)
    {
        var (family, parts) = (folder.Family, folder.Family.TextComponents);
        var t5Tokenizer = T5Tokenizer.Load(folder.Component(parts[^1].Tokenizer).Folder);
        var clipTokenizers = parts.SkipLast(1).Select(part => ClipTokenizer.Load(folder.Component(part.Tokenizer).Folder)).ToArray();
        var loaded = new List<Module>();
        try
        {
            return family.CreatePromptEncoder([.. clipTokenizers.Select((tokenizer, i) => (tokenizer, Clip(i)))], t5Tokenizer, T5());
        }
        catch
        {
            loaded.ForEach(model => model.Dispose());
            throw;
        }

        Module Clip(int index)
        {
            var component = folder.Component(parts[index].TextEncoder);
            return Fill(family.BuildClip(ClipTextConfig.Read(component.ConfigFile)), component);
        }

        T5Encoder T5()
        {
            var component = folder.Component(parts[^1].TextEncoder);
            return Fill(new T5Encoder(T5EncoderConfig.Read(component.ConfigFile)), component);
        }

        T Fill<T>(T model, ComponentFolder component)
            where T : Module
        {
            loaded.Add(model);
            fill(model, component);
            return model;
        }
    }

    /// <summary>Frees the text encoders.</summary>
    public virtual void Dispose()
    {
        foreach (var model in Models)
            model.Dispose();
        GC.SuppressFinalize(this);
    }
}

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
