using PyramidFlow.Torch;

namespace PyramidFlow.Models.Text;

/// <summary>A CLIP text encoder whose pooled output is projected into the space shared with images.</summary>
public sealed class ClipTextModelWithProjection : Module
{
    private readonly ClipTextTransformer textModel;
    private readonly Linear textProjection;

    /// <summary>Declares the model.</summary>
    /// <exception cref="ArgumentException">The config has no <c>projection_dim</c>.</exception>
    public ClipTextModelWithProjection(ClipTextConfig config)
    {
        Config = config;
        textModel = new ClipTextTransformer(config);
        var width = config.ProjectionDim
            ?? throw new ArgumentException("a CLIP model with projection needs projection_dim in its config.json");
        textProjection = new Linear(config.HiddenSize, width, Initializers.Normal(1 / Math.Sqrt(config.HiddenSize)), bias: false);
    }

    /// <summary>What it was built from.</summary>
    public ClipTextConfig Config { get; }

    /// <summary>Where the weights are, and where ids have to be.</summary>
    public Device Device => textModel.Device;

    /// <summary>Features of token ids; the pooled output is projected, [b, projection].</summary>
    /// <param name="ids">Int64 [b, n], n at most <see cref="ClipTextConfig.MaxPositionEmbeddings"/>.</param>
    public ClipTextOutput Forward(Tensor ids)
    {
        using var scope = new TensorScope();
        var (hidden, pooled) = textModel.Forward(ids);
        return new ClipTextOutput(scope.Keep(hidden), scope.Keep(textProjection.Forward(pooled)));
    }

    /// <inheritdoc/>
    protected override bool Ignores(string key) => key == "text_model.embeddings.position_ids";
}
