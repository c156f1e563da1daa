namespace PyramidFlow.Lora;

/// <summary>Which layers of a transformer get low-rank additions, and how large they are.</summary>
public sealed record LoraConfig
{
    /// <summary>Rank of each addition; at least 1.</summary>
    public int Rank { get; init; } = 16;

    /// <summary>Strength: an addition counts alpha / rank times.</summary>
    public double Alpha { get; init; } = 16;

    /// <summary>
    /// Layers by the end of their key, such as <c>attn.to_q</c>, <c>ff.net.2</c> or <c>proj_out</c>; the default is the
    /// picture's projections of attention.
    /// </summary>
    public IReadOnlyList<string> Targets { get; init; } = ["to_q", "to_k", "to_v", "to_out.0"];

    /// <summary>How much an addition counts.</summary>
    public double Scale => Alpha / Rank;
}
