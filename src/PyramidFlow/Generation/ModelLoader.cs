using PyramidFlow.Hub;
using PyramidFlow.Models.Lora;
using PyramidFlow.Models.Text;
using PyramidFlow.Torch;
using PyramidFlow.Models;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Generation;

/// <summary>Loads the models of a checkpoint onto one device, in whatever element type.</summary>
/// <param name="folder">The checkpoint.</param>
/// <param name="options">Which transformer, what is added to its weights, and when weights are in memory.</param>
/// <param name="device">Where to hold them.</param>
/// <param name="transformer">Sizes of the transformer.</param>
/// <param name="vae">Sizes of the VAE.</param>
internal sealed class ModelLoader(CheckpointFolder folder, PipelineOptions options, Device device, ITransformerConfig transformer, CausalVideoVaeConfig vae)
{
    /// <summary>Text encoders, whose weights are read when the first prompt needs them.</summary>
    internal PromptEncoder Text(ElementType type) => PromptEncoder.Load(folder, (model, component) => Attach(model, component, type));

    internal PyramidTransformer Transformer(ElementType type)
    {
        var model = Fill(transformer.Build(options.Attention), folder.Transformer(options.Variant), type);
        try
        {
            foreach (var lora in options.Loras)
                LoraFile.Merge(model, lora.Path, lora.Weight);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    internal CausalVideoVae Vae(ElementType type) => Fill(new CausalVideoVae(vae), folder.Vae, type);

    private T Fill<T>(T model, ComponentFolder component, ElementType type)
        where T : Module
    {
        try
        {
            if (options is { Offload: Offload.None, MaxMemory: null })
                Load(model, component, type);
            else
                Attach(model, component, type);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    private void Load(Module model, ComponentFolder component, ElementType type)
    {
        using var source = component.OpenWeights();
        model.Load(source, type, device);
    }

    private void Attach(Module model, ComponentFolder component, ElementType type) => model.Attach(component.OpenWeights(), type, device);
}
