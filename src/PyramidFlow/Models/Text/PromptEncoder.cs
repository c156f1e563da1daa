using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Encodes prompts into the features that a diffusion transformer is conditioned on; owns its text encoders.</summary>
public abstract class PromptEncoder : IDisposable
{
    /// <summary>Number of T5 tokens the released models were trained with; longer prompts are truncated.</summary>
    public const int MaxTokens = 128;

    /// <summary>Width of a token's feature.</summary>
    public abstract long TokenWidth { get; }

    /// <summary>Width of the pooled feature.</summary>
    public abstract long PooledWidth { get; }

    /// <summary>The text encoders, to move or to train.</summary>
    public abstract IReadOnlyList<Module> Models { get; }

    /// <summary>
    /// Encodes prompts, one row each. The tensors belong to the caller's scope; inside <see cref="NoGrad"/> no gradients are
    /// recorded.
    /// </summary>
    /// <param name="prompts">At least one prompt; an empty text means "no prompt".</param>
    public abstract PromptFeatures Encode(IReadOnlyList<string> prompts);

    /// <summary>Loads the tokenizers and text encoders of a checkpoint of any family.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="type">Element type of the weights; null keeps the checkpoint's type, and the weights stay memory-mapped.</param>
    /// <param name="device">Device of the weights; null is the CPU.</param>
    /// <exception cref="CheckpointException">A folder or file is missing, damaged, or of another model.</exception>
    public static PromptEncoder Load(CheckpointFolder folder, ElementType? type = null, Device? device = null) => Load(folder, (model, component) =>
    {
        using var source = component.OpenWeights();
        model.Load(source, type, device);
    });

    /// <summary>Like the public overload, but the caller loads the weights.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="fill">Loads the weights of a text encoder from its folder.</param>
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

    /// <summary>Checks that a model has an embedding for every id of its tokenizer.</summary>
    private protected static void RequireRows(string model, long rows, int vocabulary)
    {
        if (vocabulary > rows)
            throw CheckpointFault.TokenizerOfOtherModel(model, vocabulary, rows);
    }

    /// <summary>Frees the text encoders.</summary>
    public virtual void Dispose()
    {
        foreach (var model in Models)
            model.Dispose();
        GC.SuppressFinalize(this);
    }
}

/// <summary>Features of some prompts, as a diffusion transformer reads them.</summary>
/// <param name="Tokens">Feature of each token, [b, n, width]; n is the length of the longest prompt, not the limit. Values at
/// or after a prompt's length are undefined.</param>
/// <param name="Lengths">Number of tokens of each prompt, 1 to n.</param>
/// <param name="Pooled">One feature per prompt, [b, pooled].</param>
/// <param name="Warnings">Messages for the user, for example that a prompt was truncated; may be empty.</param>
public sealed record PromptFeatures(Tensor Tokens, int[] Lengths, Tensor Pooled, IReadOnlyList<string> Warnings)
{
    /// <summary>Whether all values within the prompts' lengths are finite. Waits for the device.</summary>
    public bool AreFinite()
    {
        using var scope = new TensorScope();
        return Pooled.AllFinite() && (Tokens.AllFinite() || Lengths.Index().All(row => Tokens.Narrow(0, row.Index, 1).Narrow(1, 0, row.Item).AllFinite()));
    }

    /// <summary>Moves the tensors to the scope outside <paramref name="scope"/>.</summary>
    /// <returns>This object.</returns>
    public PromptFeatures KeepFrom(TensorScope scope)
    {
        scope.Keep(Tokens);
        scope.Keep(Pooled);
        return this;
    }
}

/// <summary>Token ids of some prompts in one tensor, padded to the longest prompt.</summary>
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

    /// <summary>Tokenizes prompts.</summary>
    /// <param name="prompts">At least one prompt.</param>
    /// <param name="encode">Tokenizes one prompt without padding.</param>
    /// <param name="pad">Id that pads the shorter rows.</param>
    /// <param name="reader">Name of the model that reads the ids, for the warning that a prompt was truncated.</param>
    internal static TextBatch Tokenize(IReadOnlyList<string> prompts, Func<string, Tokenized> encode, int pad, string reader)
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
