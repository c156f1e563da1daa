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
        var parts = folder.Family.TextComponents();
        var t5Tokenizer = T5Tokenizer.Load(folder.Component(parts[^1].Tokenizer).Folder);
        var clipTokenizers = parts.SkipLast(1).Select(part => ClipTokenizer.Load(folder.Component(part.Tokenizer).Folder)).ToArray();
        var loaded = new List<Module>();
        try
        {
            if (folder.Family == ModelFamily.Flux)
                return new FluxPromptEncoder(clipTokenizers[0], Clip(config => new ClipTextModel(config), 0), t5Tokenizer, T5());
            return new Sd3PromptEncoder(
                (clipTokenizers[0], Clip(config => new ClipTextModelWithProjection(config), 0)),
                (clipTokenizers[1], Clip(config => new ClipTextModelWithProjection(config), 1)),
                t5Tokenizer, T5());
        }
        catch
        {
            loaded.ForEach(model => model.Dispose());
            throw;
        }

        T Clip<T>(Func<ClipTextConfig, T> declare, int index)
            where T : Module
        {
            var component = folder.Component(parts[index].TextEncoder);
            return Fill(declare(ClipTextConfig.Read(component.ConfigFile)), component);
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
