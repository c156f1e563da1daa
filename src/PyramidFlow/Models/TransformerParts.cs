using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// What every <see cref="PyramidTransformer"/> is made of, in the order a pass goes through. The modules themselves are fields
/// of the models: their order there is the order of the weights in a training state.
/// </summary>
/// <param name="TimeText">Gives the conditioning vector.</param>
/// <param name="Context">Text tokens to the model's width.</param>
/// <param name="Joint">Blocks with two streams.</param>
/// <param name="Single">Blocks with one stream that follow; may be none.</param>
/// <param name="NormOut">Modulation of the last norm.</param>
/// <param name="ProjOut">Tokens to patches.</param>
internal sealed record TransformerParts(TimeTextEmbedding TimeText, Linear Context, JointBlock[] Joint, FluxSingleBlock[] Single,
    AdaLayerNorm NormOut, Linear ProjOut);
