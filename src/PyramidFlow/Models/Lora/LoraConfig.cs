using System.Text.Json.Serialization;

namespace PyramidFlow.Models.Lora;

/// <summary>Which layers of a transformer get low-rank additions, and how large they are.</summary>
/// <param name="Rank">Rank of each addition; at least 1.</param>
/// <param name="Alpha">Strength: an addition counts alpha / rank times.</param>
/// <param name="Targets">
/// Layers by the end of their key, such as <c>attn.to_q</c>, <c>ff.net.2</c> or <c>proj_out</c>; null is the picture's projections
/// of attention.
/// </param>
public sealed record LoraConfig(int Rank = 16, double Alpha = 16, IReadOnlyList<string>? Targets = null)
{
    /// <summary>Layers by the end of their key.</summary>
    public IReadOnlyList<string> Targets { get; init; } = Targets ?? ["to_q", "to_k", "to_v", "to_out.0"];

    /// <summary>How much an addition counts.</summary>
    [JsonIgnore]
    public double Scale => Alpha / Rank;

    /// <summary>What is impossible in it, in words; null where nothing is.</summary>
    public string? Fault() =>
        Rank < 1 ? $"a LoRA of rank {Rank} has no weights: use a rank of at least 1"
        : !double.IsFinite(Alpha) || Alpha == 0 ? FormattableString.Invariant($"alpha {Alpha} leaves nothing of a LoRA: use the rank, or a number near it")
        : Targets is not { Count: > 0 } ? "targets names no layer: leave it out for the projections of attention, or name some"
        : null;
}
