using System.Text.Json.Serialization;
using PyramidFlow.Torch;

namespace PyramidFlow.Models.Lora;

/// <summary>A LoRA and how much it counts.</summary>
/// <param name="Path">Its safetensors file, or the folder of an adapter that peft or diffusers wrote.</param>
/// <param name="Weight">1 as trained; may be negative.</param>
public sealed record LoraUse(string Path, double Weight = 1);

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

/// <summary>Prepares a model for training of low-rank additions.</summary>
public static class LoraAdapters
{
    /// <summary>
    /// Freezes a loaded model and adds trainable low-rank matrices to the layers that the config names. They are the only
    /// weights that <see cref="FlatParameters"/> takes afterwards.
    /// </summary>
    /// <param name="model">The model, with weights.</param>
    /// <param name="config">Which layers.</param>
    /// <param name="generator">Draws the matrices.</param>
    /// <returns>Keys of the layers.</returns>
    /// <exception cref="ArgumentException">The config is impossible, or a target names no layer.</exception>
    public static IReadOnlyList<string> Attach(Module model, LoraConfig config, RandomGenerator generator)
    {
        var chosen = Chosen(model, config);
        foreach (var (_, parameter) in model.NamedParameters())
            parameter.Trainable = false;
        foreach (var (_, layer) in chosen)
            layer.AddLowRank(config.Rank, config.Scale, generator);
        return [.. chosen.Select(l => l.Path)];
    }

    /// <summary>Keys of the layers that would get additions; changes nothing, and the model needs no weights.</summary>
    /// <param name="model">The model.</param>
    /// <param name="config">Which layers.</param>
    /// <exception cref="ArgumentException">The config is impossible, or a target names no layer.</exception>
    public static IReadOnlyList<string> Layers(Module model, LoraConfig config) => [.. Chosen(model, config).Select(l => l.Path)];

    private static List<(string Path, Linear Layer)> Chosen(Module model, LoraConfig config)
    {
        if (config.Fault() is { } fault)
            throw new ArgumentException(fault);
        List<(string Path, Linear Layer)> layers = [.. model.NamedModules().Where(m => m.Module is Linear).Select(m => (m.Path, (Linear)m.Module))];
        if (config.Targets.FirstOrDefault(target => !layers.Any(l => IsNamed(l.Path, target))) is { } unknown)
            throw new ArgumentException($"the LoRA target {unknown} names no layer of this model; there are: {Names(layers.Select(l => l.Path))}");
        return [.. layers.Where(l => config.Targets.Any(target => IsNamed(l.Path, target)))];
    }

    private static bool IsNamed(string path, string target) =>
        path == target || path.EndsWith("." + target, StringComparison.Ordinal);

    // Once for all blocks: without list and number.
    private static string Names(IEnumerable<string> paths) => string.Join(", ", paths
        .Select(path => path.Split('.'))
        .Select(parts => string.Join('.', parts.Length > 2 && parts[1].All(char.IsAsciiDigit) ? parts[2..] : parts))
        .Distinct());
}
