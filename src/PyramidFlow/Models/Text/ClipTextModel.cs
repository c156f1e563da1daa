using PyramidFlow.Torch;

namespace PyramidFlow.Models.Text;

/// <summary>A CLIP text encoder whose pooled output is the end token's feature.</summary>
public sealed class ClipTextModel : Module
{
    private readonly ClipTextTransformer textModel;

    /// <summary>Declares the model.</summary>
    public ClipTextModel(ClipTextConfig config)
    {
        Config = config;
        textModel = new ClipTextTransformer(config);
    }

    /// <summary>What it was built from.</summary>
    public ClipTextConfig Config { get; }

    /// <summary>Where the weights are, and where ids have to be.</summary>
    public Device Device => textModel.Device;

    /// <summary>Features of token ids.</summary>
    /// <param name="ids">Int64 [b, n], n at most <see cref="ClipTextConfig.MaxPositionEmbeddings"/>.</param>
    public ClipTextOutput Forward(Tensor ids) => textModel.Forward(ids);

    /// <inheritdoc/>
    protected override bool Ignores(string key) => key == "text_model.embeddings.position_ids";
}
