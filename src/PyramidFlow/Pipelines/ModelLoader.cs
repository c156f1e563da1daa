using PyramidFlow.Hub;
using PyramidFlow.Lora;
using PyramidFlow.TextEncoders;
using PyramidFlow.Torch;
using PyramidFlow.Transformers;
using PyramidFlow.Vae;

namespace PyramidFlow.Pipelines;

/// <summary>Loads the models of a checkpoint onto one device, in whatever element type.</summary>
/// <param name="folder">The checkpoint.</param>
/// <param name="options">Which transformer, and what is added to its weights.</param>
/// <param name="device">Where to hold them.</param>
/// <param name="transformer">Sizes of the transformer.</param>
/// <param name="vae">Sizes of the VAE.</param>
internal sealed class ModelLoader(CheckpointFolder folder, PipelineOptions options, Device device, ITransformerConfig transformer, CausalVideoVaeConfig vae)
{
    internal PromptEncoder Text(ElementType type) => PromptEncoder.Load(folder, type, device);

    internal PyramidTransformer Transformer(ElementType type)
    {
        var model = Fill(transformer.Build(), folder.Transformer(options.Variant), type);
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
            using var source = component.OpenWeights();
            model.Load(source, type, device);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }
}
