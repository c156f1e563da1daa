namespace PyramidFlow.Models;

/// <summary>How an MMDiT knows the latent frame of a token.</summary>
public enum TimePositions
{
    /// <summary>Not at all, but for the causal mask.</summary>
    None,

    /// <summary>Queries and keys turn with it (<c>rope</c>), as in the released models.</summary>
    Rotary,

    /// <summary>A table is added to the embeddings (<c>sincos</c>).</summary>
    SinCos,
}
